//! Whole listings: many pages at once, whatever the names are.
//!
//! One page after the other is a round trip each, so a bucket of ten million keys would take an hour.
//! The names are cut into ranges instead, each listed on its own from behind its lower end: a range that
//! has at least two more pages before it, by the density of the page that it has just read, is halved
//! while fewer than `n_at_once` are under way. Names that Nix makes are spread evenly, and where they are
//! not (bodies begin with `0` or `1`) a wrong guess costs a request that finds nothing. Every name lies
//! in exactly one range, also one that is nobody's.
//!
//! Not here: what a name means. An engine that takes only narinfos says so by `is_shallow`.

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};

use super::{Backend, Error, ListPage, ListQuery, ObjectMeta};
use crate::{
    nix::{base32, object_key::ObjectKey},
    tasks::on_worker,
};

/// As many letters behind the prefix are looked at: 32 to the eighth is 40 bits.
const N_LETTERS: usize = 8;

/// As many letters a cut has: a thousandth of a thousandth of the names is fine enough for any bucket.
const N_CUT_LETTERS: usize = 4;

/// Each letter is worth five bits.
const LETTER_BITS: u32 = 5;

/// One more than the highest place.
const END: u64 = 1 << 40;

/// A whole listing.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The keys, in ascending order of their bytes.
    pub objects: Vec<(ObjectKey, ObjectMeta)>,
    /// What a shallow listing folded, each with its final slash, in ascending order.
    pub folders: Vec<String>,
    /// About how many names no [`ObjectKey`] can have: one where two ranges meet may be counted twice.
    pub n_foreign: u64,
}

/// Lists everything that begins with `prefix`, with up to `n_at_once` requests under way.
pub async fn all(
    backend: &dyn Backend,
    prefix: &str,
    is_shallow: bool,
    n_at_once: usize,
) -> Result<Listing, Error> {
    let mut listing = Listing::default();
    let ask = |query: ListQuery| async move { backend.list(&query).await }.boxed();
    let take = |page: ListPage| {
        listing.objects.extend(page.objects);
        listing.folders.extend(page.folders);
        listing.n_foreign += page.n_foreign;
    };
    run(ask, prefix, is_shallow, n_at_once, take).await?;
    // Made of ascending runs, which this sort finds.
    listing.objects.sort_by(|a, b| a.0.cmp(&b.0));
    listing.folders.sort();
    Ok(listing)
}

/// Lists like [`all`] and hands each page to `take`, in any order: for more keys than memory has room
/// for; returns how many there were. Answers are read on tasks of their own, since a page of a thousand
/// keys is milliseconds of it.
pub async fn pages(
    backend: &Arc<dyn Backend>,
    prefix: &str,
    is_shallow: bool,
    n_at_once: usize,
    take: impl FnMut(ListPage),
) -> Result<u64, Error> {
    let ask = |query: ListQuery| {
        let backend = Arc::clone(backend);
        on_worker(async move { backend.list(&query).await }).boxed()
    };
    run(ask, prefix, is_shallow, n_at_once, take).await
}

/// The names behind one and up to another.
#[derive(Clone, Debug)]
struct Range {
    query: ListQuery,
    /// The last name that belongs to it; none if all do.
    to: Option<String>,
    /// The place of the last name seen, or of the lower end.
    at: u64,
}

type Asked = (Range, Result<ListPage, Error>);

async fn run<'a>(
    ask: impl Fn(ListQuery) -> BoxFuture<'a, Result<ListPage, Error>>,
    prefix: &str,
    is_shallow: bool,
    n_at_once: usize,
    mut take: impl FnMut(ListPage),
) -> Result<u64, Error> {
    let send = |range: Range| -> BoxFuture<'a, Asked> {
        let page = ask(range.query.clone());
        async move { (range, page.await) }.boxed()
    };
    let query = ListQuery {
        prefix: prefix.to_owned(),
        is_shallow,
        ..ListQuery::default()
    };
    let mut asked = FuturesUnordered::new();
    asked.push(send(Range {
        query,
        to: None,
        at: 0,
    }));
    let mut n_pages = 0;
    while let Some((mut range, page)) = asked.next().await {
        let mut page = page?;
        n_pages += 1;
        let before = range.at;
        let is_over = range.has_read(&mut page);
        range.query.token = page.token.take();
        if range.query.token.is_some() && !is_over {
            if asked.len() + 1 < n_at_once
                && let Some(upper) = range.halve(before)
            {
                asked.push(send(upper));
            }
            asked.push(send(range));
        }
        take(page);
    }
    Ok(n_pages)
}

impl Range {
    /// Drops from a page what the next range lists, and notes how far it went; says whether that was
    /// the end.
    fn has_read(&mut self, page: &mut ListPage) -> bool {
        let last = page.objects.last().map(|(key, _)| key.as_str());
        let last = last.max(page.folders.last().map(String::as_str));
        if let Some(last) = last {
            self.at = self.at.max(self.place(last));
        }
        let Some(to) = self.to.as_deref() else {
            return false;
        };
        let is_over = last.is_some_and(|last| last > to);
        if is_over {
            page.objects.retain(|(key, _)| key.as_str() <= to);
            page.folders.retain(|folder| folder.as_str() <= to);
        }
        is_over
    }

    /// Gives away the upper half of what is left, if both halves have a page to expect; `before` is
    /// where the last page began.
    fn halve(&mut self, before: u64) -> Option<Self> {
        let end = self.to.as_deref().map_or(END, |to| self.place(to));
        let left = end.saturating_sub(self.at);
        let density = self.at.saturating_sub(before).max(1);
        if left / density < 2 {
            return None;
        }
        let middle = self.name(self.at + left / 2);
        // The place of a name that is not Nix's is a guess; a cut that is not within is none.
        let is_within = self.place(&middle) > self.at
            && self.to.as_deref().is_none_or(|to| middle.as_str() < to);
        if !is_within {
            return None;
        }
        let upper = Self {
            query: ListQuery {
                start_after: Some(middle.clone()),
                token: None,
                ..self.query.clone()
            },
            at: self.place(&middle),
            to: self.to.replace(middle),
        };
        Some(upper)
    }

    /// Returns where a name lies among all that begin with the prefix, as if they were evenly spread
    /// over Nix's letters.
    fn place(&self, name: &str) -> u64 {
        let rest = name.get(self.query.prefix.len()..).unwrap_or_default();
        let letters = rest.bytes().map(rank).chain(std::iter::repeat(0));
        letters
            .take(N_LETTERS)
            .fold(0, |place, rank| (place << LETTER_BITS) | rank)
    }

    /// Returns the name at a place, cut short. It has no slash, so it lies in no folder.
    fn name(&self, place: u64) -> String {
        let mut name = self.query.prefix.clone();
        for n in 1..=N_CUT_LETTERS {
            let shift = LETTER_BITS * u32::try_from(N_LETTERS - n).unwrap_or_default();
            let rank = usize::try_from((place >> shift) & 31).unwrap_or_default();
            name.push(char::from(base32::ALPHABET[rank]));
        }
        name
    }
}

/// Returns how many of Nix's letters come before this one.
fn rank(byte: u8) -> u64 {
    let before = base32::ALPHABET.partition_point(|letter| *letter < byte);
    u64::try_from(before.min(base32::ALPHABET.len() - 1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::{
            memory::{Memory, Modes},
            wrap::count::Verb,
        },
        clock::Clock,
    };

    fn memory(page_size: usize) -> Memory {
        let modes = Modes {
            page_size,
            ..Modes::aws()
        };
        Memory::with_modes(Clock::system(), modes)
    }

    /// A name as evenly spread as a hash.
    fn hashed(n: u64) -> String {
        let mut bytes = [0; 20];
        for (index, chunk) in bytes.chunks_mut(8).enumerate() {
            let word = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31)
                ^ (index as u64 + n).wrapping_mul(0xd134_2543_de82_ef95);
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
        base32::encode(&bytes)
    }

    async fn requests_for(memory: &Memory, prefix: &str, n_at_once: usize) -> (Vec<String>, u64) {
        let before = memory.counts().read(Verb::List).requests;
        let listing = all(memory, prefix, true, n_at_once).await.unwrap();
        let names = listing
            .objects
            .iter()
            .map(|(key, _)| key.as_str().to_owned());
        let names = names.chain(listing.folders).collect();
        (names, memory.counts().read(Verb::List).requests - before)
    }

    #[tokio::test]
    async fn every_name_is_listed_once_and_in_order_however_many_ask_at_once() {
        let memory = memory(7);
        for n in 0..1000 {
            memory.plant(&format!("{}.narinfo", hashed(n)), "x");
        }
        for odd in [
            "Z",
            "e",
            "nix-cache-info",
            "ooo",
            "ttt.narinfo",
            "~",
            "ü",
            "zzzzz",
        ] {
            memory.plant(odd, "x");
        }
        for folder in ["debuginfo", "log", "nar", "narhaul", "e", "zzzz"] {
            memory.plant(&format!("{folder}/x"), "x");
            memory.plant(&format!("{folder}/y"), "x");
        }
        let (wanted, n_pages) = requests_for(&memory, "", 1).await;
        assert_eq!((wanted.len(), n_pages), (1014, 145));
        for n_at_once in [2, 8, 32, 100] {
            let (found, n_requests) = requests_for(&memory, "", n_at_once).await;
            assert_eq!(found, wanted);
            assert!(n_requests < 2 * n_pages, "{n_requests} of {n_pages}");
        }
    }

    #[tokio::test]
    async fn bodies_are_spread_over_the_second_letter_and_found_all_the_same() {
        let memory = memory(10);
        for n in 0..2000 {
            memory.plant(&format!("nar/{}{}.nar.zst", n % 2, hashed(n)), "x");
        }
        let (wanted, n_pages) = requests_for(&memory, "nar/", 1).await;
        let (found, n_requests) = requests_for(&memory, "nar/", 16).await;
        assert_eq!(found, wanted);
        assert!(
            n_requests < n_pages + n_pages / 2,
            "{n_requests} of {n_pages}"
        );
        let mut streamed = Vec::new();
        let backend: Arc<dyn Backend> = Arc::new(memory);
        let take = |page: ListPage| streamed.extend(page.objects);
        pages(&backend, "nar/", true, 16, take).await.unwrap();
        streamed.sort_by(|a, b| a.0.cmp(&b.0));
        assert!(streamed.iter().map(|(key, _)| key.as_str()).eq(&wanted));
    }

    #[tokio::test]
    async fn a_small_listing_costs_one_request_and_a_failure_is_told() {
        let memory = memory(10);
        memory.plant("a", "x");
        assert_eq!(
            requests_for(&memory, "", 32).await,
            (vec!["a".to_owned()], 1)
        );
        let missing = Memory::without_bucket(Clock::system(), Modes::aws());
        assert!(all(&missing, "", true, 4).await.is_err());
    }
}
