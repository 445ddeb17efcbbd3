//! Has the server copy bodies by itself, where one server keeps the source and the destination.
//!
//! A body that is to be looked into is read here all the same, and then copied as the object that was
//! read: the server is told its entity tag. One that is believed
//! ([`Options::trust_source`](super::Options::trust_source)) does not come here at all: its length is
//! compared, and its hash where narhaul wrote it and noted that.
//!
//! Whatever goes wrong, a body can always be passed on. One that has gone or changed since it was seen is
//! read again, which tells what has become of it; after any other failure the server is not asked again
//! in this run, and a warning says so.

use std::{ops::Range, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{Warning, context::Context, pass::Passing, presence::FILE_HASH, send::body_options};
use crate::backend::{self, Kind, Origin};

/// How much of a body the server copies in one request, where one request cannot copy all of it.
/// Chosen: less makes requests, more makes answers that a connection does not live to see.
const PART: u64 = 512 << 20;

/// Parts of one body that are copied at once. Chosen: enough to hide the way there and back.
const N_PARTS: usize = 4;

/// Returns how the server finds the body that has this entity tag at the source, if it is to copy it.
pub(super) fn origin(context: &Context, passing: &Passing, etag: &str) -> Option<Origin> {
    if passing.is_there || !context.asks_for_copies() {
        return None;
    }
    let from = context
        .source
        .as_cache()?
        .backend()
        .origin(&passing.body.from, etag)?;
    let to = context.dest.origin(&passing.key, etag)?;
    from.keeper.is_same(&to.keeper).then_some(from)
}

/// Returns whether the server is to copy a body that nobody looks into.
pub(super) fn is_unseen(context: &Context, passing: &Passing) -> bool {
    !context.unpacks() && origin(context, passing, "").is_some()
}

/// Looks at the body as it is now; returns how the server finds it, if it is to copy it and nothing
/// speaks against it.
pub(super) async fn look(context: &Context, passing: &Passing) -> Option<Origin> {
    origin(context, passing, "")?;
    let source = context.source.as_cache()?.backend();
    // What is wrong with it is told by whoever reads it then.
    let meta = source.head(&passing.body.from).await.ok()?;
    let noted = meta.user.get(FILE_HASH);
    let is_it = meta.size == passing.body.file_size
        && noted.is_none_or(|noted| *noted == passing.body.file_hash.to_string());
    if !is_it {
        return None;
    }
    origin(context, passing, &meta.etag?)
}

/// Has the server copy a body; says whether it is there now. If not, it is to be passed on.
pub(super) async fn copy(context: &Arc<Context>, passing: &Passing, from: &Origin) -> bool {
    let (size, limits) = (passing.body.file_size, context.dest.limits());
    let copied = if size <= limits.max_put_size {
        let options = body_options(Some(passing.body.file_hash));
        context.dest.copy(&passing.key, from, &options).await
    } else {
        copy_parts(context, passing, from, ranges(size, limits.max_parts)).await
    };
    match copied {
        Ok(()) => true,
        Err(error) if matches!(error.kind, Kind::NotFound | Kind::Exists) => false,
        Err(error) => {
            if context.stop_asking_for_copies() {
                context.warn(Warning::NoServerCopies(error));
            }
            false
        }
    }
}

async fn copy_parts(
    context: &Arc<Context>,
    passing: &Passing,
    from: &Origin,
    ranges: Vec<Range<u64>>,
) -> Result<(), backend::Error> {
    let dest = &context.dest;
    let options = body_options(Some(passing.body.file_hash));
    let upload = dest.begin_upload(&passing.key, &options).await?;
    context.note_upload(&upload);
    let copying = (1..).zip(ranges).map(|(number, range)| {
        let upload = &upload;
        async move { dest.copy_part(upload, number, from, range).await }
    });
    let copied = async {
        let mut parts: Vec<_> = stream::iter(copying)
            .buffer_unordered(N_PARTS)
            .try_collect()
            .await?;
        parts.sort_by_key(|part: &backend::Part| part.number);
        dest.complete_upload(&upload, &parts).await
    };
    match copied.await {
        Ok(()) => {
            context.forget_upload(&upload);
            Ok(())
        }
        Err(error) => {
            context.abort_upload(&upload).await;
            Err(error)
        }
    }
}

/// Cuts a body into parts that are all equal but the last.
fn ranges(size: u64, max_parts: u32) -> Vec<Range<u64>> {
    let step = PART.max(size.div_ceil(u64::from(max_parts.max(1))));
    let mut ranges = Vec::new();
    let mut start = 0;
    while start < size {
        let end = size.min(start.saturating_add(step));
        ranges.push(start..end);
        start = end;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_body_and_are_equal_but_the_last() {
        let sizes = [1, PART, PART + 1, (5 << 30) + 1, 5 << 40];
        for (size, max_parts) in sizes
            .into_iter()
            .flat_map(|size| [(size, 10_000), (size, 1_000)])
        {
            let ranges = ranges(size, max_parts);
            assert!(ranges.len() <= usize::try_from(max_parts).unwrap());
            assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, size));
            assert!(ranges.windows(2).all(|two| two[0].end == two[1].start));
            let lengths: Vec<u64> = ranges.iter().map(|range| range.end - range.start).collect();
            let (last, others) = lengths.split_last().unwrap();
            assert!(
                others
                    .iter()
                    .all(|length| length == &others[0] && length >= last)
            );
            assert!(others.iter().all(|length| *length <= 6 << 30));
        }
    }
}
