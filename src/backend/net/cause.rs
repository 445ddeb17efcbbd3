//! Why a request got no answer: the HTTP client's error, and what it was made of.

use std::error::Error;

/// Returns the words of the cause at the bottom, which says most.
pub(in crate::backend) fn deepest(source: &(dyn Error + 'static)) -> String {
    chain(source)
        .map(ToString::to_string)
        .filter(|words| !words.is_empty())
        .last()
        .unwrap_or_default()
}

/// Returns an error and everything below it. What an I/O error wraps counts as below it.
pub(in crate::backend) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}
