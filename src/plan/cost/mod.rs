//! What a plan costs: requests, bytes, money.
//!
//! In comes what a plan would do and what was seen of the cache; out come requests by the kind that
//! providers bill, bytes moved and freed, and their price by a provider's list. Requests are counted as the
//! engines make them when nothing fails and nobody else is at work: retries and waits come on top.
//!
//! Prices are list prices without allowances, rebates and taxes, of the month that [`Provider::as_of`]
//! names; they are there to tell a cent from a hundred dollars. Not here: which provider a cache is at
//! (the face's business, by the host's name).

mod sweep;

use std::{fmt, ops::Add};

pub use self::sweep::{Rehearsal, sweep};
use crate::plan::copy::CopyPlan;

/// Keys in one page of a listing, and in one request that deletes: S3's limit for both.
pub const PER_REQUEST: u64 = 1000;

/// A billionth of a provider's currency: one GET costs hundreds of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub u64);

/// A provider's list prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its name.
    pub name: &'static str,
    /// `$` or `€`.
    pub currency: &'static str,
    /// The month whose prices these are.
    pub as_of: &'static str,
    /// A PUT, or a part of one.
    pub put: Nanos,
    /// A page of a listing.
    pub list: Nanos,
    /// A GET or a HEAD.
    pub get: Nanos,
    /// A request that deletes, of one key or of a thousand.
    pub delete: Nanos,
    /// A gigabyte (10⁹ bytes) that leaves the provider.
    pub gigabyte_out: Nanos,
    /// A gigabyte that is kept for a month.
    pub gigabyte_month: Nanos,
    /// What else somebody who deletes there should know.
    pub note: Option<&'static str>,
}

/// AWS S3, Standard, `us-east-1`. Gigabytes out are those to the internet; within the region they cost
/// nothing.
pub const AWS: Provider = Provider {
    name: "AWS S3",
    currency: "$",
    as_of: "2024-04",
    put: Nanos(5_000),
    list: Nanos(5_000),
    get: Nanos(400),
    delete: Nanos(0),
    gigabyte_out: Nanos(90_000_000),
    gigabyte_month: Nanos(23_000_000),
    note: None,
};

/// Cloudflare R2, standard storage: class A are PUT and LIST, class B are GET and HEAD.
pub const R2: Provider = Provider {
    name: "Cloudflare R2",
    currency: "$",
    as_of: "2026-08",
    put: Nanos(4_500),
    list: Nanos(4_500),
    get: Nanos(360),
    delete: Nanos(0),
    gigabyte_out: Nanos(0),
    gigabyte_month: Nanos(15_000_000),
    note: None,
};

/// Backblaze B2: uploads and deletes are free, GET and HEAD are class B, listings class C.
pub const B2: Provider = Provider {
    name: "Backblaze B2",
    currency: "$",
    as_of: "2023-10",
    put: Nanos(0),
    list: Nanos(4_000),
    get: Nanos(400),
    delete: Nanos(0),
    gigabyte_out: Nanos(10_000_000),
    gigabyte_month: Nanos(6_000_000),
    note: Some(
        "what is deleted is hidden and kept, at its full price; a lifecycle rule that keeps only the \
         last version of a file, or hidden ones for some days, lets the space come back",
    ),
};

/// Wasabi: no price on requests and traffic.
pub const WASABI: Provider = Provider {
    name: "Wasabi",
    currency: "$",
    as_of: "2023-07",
    put: Nanos(0),
    list: Nanos(0),
    get: Nanos(0),
    delete: Nanos(0),
    gigabyte_out: Nanos(0),
    gigabyte_month: Nanos(6_990_000),
    note: Some(
        "what is deleted before it is 90 days old is billed for 90 days all the same; `--window` and \
         `--grace` that are shorter together save nothing",
    ),
};

/// Hetzner Object Storage, beyond what its base price includes: € 0.0067 for a terabyte and an hour.
pub const HETZNER: Provider = Provider {
    name: "Hetzner",
    currency: "€",
    as_of: "2024-12",
    put: Nanos(0),
    list: Nanos(0),
    get: Nanos(0),
    delete: Nanos(0),
    gigabyte_out: Nanos(1_000_000),
    gigabyte_month: Nanos(4_891_000),
    note: Some("the first terabyte is in the base price, whether it is used or not"),
};

/// A server of one's own.
pub const SELF_HOSTED: Provider = Provider {
    name: "self-hosted",
    currency: "$",
    as_of: "always",
    put: Nanos(0),
    list: Nanos(0),
    get: Nanos(0),
    delete: Nanos(0),
    gigabyte_out: Nanos(0),
    gigabyte_month: Nanos(0),
    note: None,
};

/// All of them.
pub const PROVIDERS: [Provider; 6] = [AWS, R2, B2, WASABI, HETZNER, SELF_HOSTED];

/// What a run asks of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Objects and parts written.
    pub n_puts: u64,
    /// Pages of listings.
    pub n_lists: u64,
    /// Objects read or asked for.
    pub n_gets: u64,
    /// Requests that delete.
    pub n_deletes: u64,
    /// Bytes written.
    pub bytes_in: u64,
    /// Bytes read.
    pub bytes_out: u64,
    /// Bytes that are no longer kept afterwards.
    pub bytes_freed: u64,
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            n_puts: self.n_puts.saturating_add(other.n_puts),
            n_lists: self.n_lists.saturating_add(other.n_lists),
            n_gets: self.n_gets.saturating_add(other.n_gets),
            n_deletes: self.n_deletes.saturating_add(other.n_deletes),
            bytes_in: self.bytes_in.saturating_add(other.bytes_in),
            bytes_out: self.bytes_out.saturating_add(other.bytes_out),
            bytes_freed: self.bytes_freed.saturating_add(other.bytes_freed),
        }
    }
}

impl Cost {
    /// Returns how many requests there are.
    #[must_use]
    pub const fn n_requests(&self) -> u64 {
        self.n_puts
            .saturating_add(self.n_lists)
            .saturating_add(self.n_gets)
            .saturating_add(self.n_deletes)
    }

    /// Returns what requests and traffic cost at a provider.
    #[must_use]
    pub fn price(&self, at: &Provider) -> Nanos {
        let requests = [
            (self.n_puts, at.put),
            (self.n_lists, at.list),
            (self.n_gets, at.get),
            (self.n_deletes, at.delete),
        ];
        let requests = requests.map(|(n, Nanos(each))| u128::from(n) * u128::from(each));
        Nanos::new(requests.iter().sum::<u128>() + per_gigabyte(self.bytes_out, at.gigabyte_out))
    }

    /// Returns what is saved in every month that follows, once bodies are gone.
    #[must_use]
    pub fn saved_each_month(&self, at: &Provider) -> Nanos {
        Nanos::new(per_gigabyte(self.bytes_freed, at.gigabyte_month))
    }
}

fn per_gigabyte(bytes: u64, Nanos(each): Nanos) -> u128 {
    u128::from(bytes) * u128::from(each) / 1_000_000_000
}

impl Nanos {
    fn new(nanos: u128) -> Self {
        Self(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// With as many digits as say something: `0.00`, `0.0004`, `12.35`.
impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Ten millionths: what is shown of less than a cent.
        const FINE: u64 = 100_000;
        /// A hundredth.
        const CENT: u64 = 10_000_000;
        let Self(nanos) = *self;
        if nanos >= CENT || nanos == 0 {
            let cents = nanos / CENT + u64::from(nanos % CENT >= CENT / 2);
            return write!(f, "{}.{:02}", cents / 100, cents % 100);
        }
        // Never nothing for something.
        write!(f, "0.{:04}", nanos.div_ceil(FINE))
    }
}

/// A narinfo's usual size, by which bytes are reckoned: a kilobyte or two.
const NARINFO_BYTES: u64 = 1_500;

/// How a copy asks and writes, as far as its requests hang on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopySize {
    /// Requests by which presence was or would be learnt.
    pub n_asked: u64,
    /// Of these, pages of listings.
    pub n_pages: u64,
    /// Bytes of the bodies to be written, as far as they are known: after compression, or before.
    pub bytes: u64,
    /// Bodies that go in parts, and their parts.
    pub n_large: u64,
    /// See [`Self::n_large`].
    pub n_parts: u64,
}

/// Returns what a copy costs that carries out `plan`.
#[must_use]
pub fn copy(plan: &CopyPlan, size: CopySize) -> Cost {
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let counts = plan.counts();
    let (n_uploads, n_reused) = (count(counts.n_upload), count(counts.n_reuse));
    // A narinfo for each path; a body in one request, or its parts between a beginning and an end.
    let n_bodies = n_uploads.saturating_sub(size.n_large) + size.n_parts + 2 * size.n_large;
    Cost {
        n_puts: n_bodies + n_uploads + n_reused + LEDGER_PUTS,
        n_lists: size.n_pages + LEDGER_LISTS,
        n_gets: size.n_asked.saturating_sub(size.n_pages),
        n_deletes: 1,
        bytes_in: size.bytes + (n_uploads + n_reused) * NARINFO_BYTES,
        ..Cost::default()
    }
}

/// Intent, first beat, root record, and the probe of the server's time.
const LEDGER_PUTS: u64 = 4;

/// The ledger before and after.
const LEDGER_LISTS: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_shown_with_the_digits_that_say_something() {
        let show = |nanos| Nanos(nanos).to_string();
        assert_eq!(show(0), "0.00");
        assert_eq!(show(1), "0.0001");
        assert_eq!(show(400_000), "0.0004");
        assert_eq!(show(9_999_999), "0.0100");
        assert_eq!(show(12_345_000_000), "12.35");
        assert_eq!(Nanos::new(u128::MAX), Nanos(u64::MAX));
    }

    #[test]
    fn prices_are_per_request_and_per_gigabyte() {
        let cost = Cost {
            n_puts: 1_000_000,
            n_lists: 1_000,
            n_gets: 1_000_000,
            n_deletes: 1_000_000,
            bytes_out: 1_000_000_000_000,
            bytes_freed: 1_000_000_000_000,
            ..Cost::default()
        };
        let prices = PROVIDERS.map(|at| {
            let (once, each_month) = (cost.price(&at), cost.saved_each_month(&at));
            format!("{}: {}{once}, {each_month}", at.name, at.currency)
        });
        insta::assert_snapshot!(prices.join("\n"), @r"
    AWS S3: $95.41, 23.00
    Cloudflare R2: $4.86, 15.00
    Backblaze B2: $10.40, 6.00
    Wasabi: $0.00, 6.99
    Hetzner: €1.00, 4.89
    self-hosted: $0.00, 0.00
    ");
    }
}
