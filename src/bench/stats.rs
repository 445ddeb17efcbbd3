//! What repeated measurements say: middle, spread, and whether two sets of them differ.
//!
//! Pure. Figures are positive and vary by factors, so everything is reckoned in logarithms: a spread of
//! 5 % is ± 5 % of the middle whatever the unit is, and a slow run counts as much as a fast one. Two sets
//! are compared by Welch's t-test ("The generalization of Student's problem", Biometrika 34, 1947) with
//! Welch's and Satterthwaite's degrees of freedom.

/// Which share of equal sets is called different by chance: one in a thousand, so that whoever compares
/// twenty figures every night is woken once in two months, not once in three nights.
#[cfg(doc)]
const ALPHA: f64 = 0.001;

/// What Student's t exceeds with probability [`ALPHA`], both tails together, for 1, 2, 3, … degrees of
/// freedom. From the printed tables (Abramowitz and Stegun, table 26.10, column 0.999).
const STUDENT: [f64; 30] = [
    636.619, 31.599, 12.924, 8.610, 6.869, 5.959, 5.408, 5.041, 4.781, 4.587, 4.437, 4.318, 4.221,
    4.140, 4.073, 4.015, 3.965, 3.922, 3.883, 3.850, 3.819, 3.792, 3.768, 3.745, 3.725, 3.707,
    3.690, 3.674, 3.659, 3.646,
];

/// The same from 40, 60 and 120 on, and for any number: there it is the normal distribution's. What lies
/// between takes that of fewer degrees, so that doubt makes wider.
const STUDENT_FROM: [(f64, f64); 3] = [(40.0, 3.551), (60.0, 3.460), (120.0, 3.373)];

/// Smaller changes are never called one: caches, clocks and page alignment move a figure as far between
/// two builds of one source.
const FLOOR: f64 = 0.02;

/// A spread above this makes a middle meaningless, and none is told: the middle half of the runs lies
/// within a fifth of the middle or the machine was busy with something else.
pub const MAX_SPREAD: f64 = 0.2;

/// Figures of one kind, from repeated runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// In ascending order; all above zero.
    sorted: Vec<f64>,
}

impl Sample {
    /// Takes figures; those that are not above zero were not measured, and are left out.
    #[must_use]
    pub fn new(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures
            .into_iter()
            .filter(|figure| figure.is_finite() && *figure > 0.0)
            .collect();
        sorted.sort_by(f64::total_cmp);
        Self { sorted }
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Returns the smallest and the largest.
    #[must_use]
    pub fn range(&self) -> Option<(f64, f64)> {
        Some((*self.sorted.first()?, *self.sorted.last()?))
    }

    /// Returns the figure in the middle, or the mean of the two there.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        middle(&self.sorted)
    }

    /// Returns how far the figures lie from their middle: the median of the distances, as a share of it.
    ///
    /// One run that went astray does not move it, as it does not move the median.
    #[must_use]
    pub fn spread(&self) -> Option<f64> {
        let median = self.median()?;
        let distances = self.sorted.iter().map(|figure| (figure - median).abs());
        // A distance of nothing is a good one, so they are not a sample.
        let mut distances: Vec<f64> = distances.collect();
        distances.sort_by(f64::total_cmp);
        Some(middle(&distances)? / median)
    }

    /// Returns whether the figures lie so far from each other that their middle says nothing.
    #[must_use]
    pub fn is_too_wide(&self) -> bool {
        self.spread().is_some_and(|spread| spread > MAX_SPREAD)
    }

    /// Mean and variance of the mean, of the logarithms.
    fn logarithms(&self) -> Option<Logarithms> {
        let n = count(self.len());
        if self.len() < 2 {
            return None;
        }
        let mean = self.sorted.iter().map(|figure| figure.ln()).sum::<f64>() / n;
        let squares = self
            .sorted
            .iter()
            .map(|figure| (figure.ln() - mean).powi(2));
        let variance = squares.sum::<f64>() / (n - 1.0);
        Some(Logarithms {
            mean,
            variance_of_mean: variance / n,
            freedom: n - 1.0,
        })
    }
}

/// Returns the middle one of figures in order, or the mean of the two there.
fn middle(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[middle - 1], upper))
}

struct Logarithms {
    mean: f64,
    variance_of_mean: f64,
    freedom: f64,
}

/// What a comparison of two samples says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The new figure over the old one.
    pub ratio: f64,
    /// The smallest ratio above 1 that would have been called a change; its inverse is that below 1.
    pub detectable: f64,
}

impl Change {
    /// Returns whether the samples differ beyond their noise.
    #[must_use]
    pub fn is_real(&self) -> bool {
        self.ratio >= self.detectable || self.ratio <= 1.0 / self.detectable
    }
}

/// Compares new figures with old ones; nothing if either has less than two, since one figure has no
/// noise that could be known.
#[must_use]
pub fn compare(old: &Sample, new: &Sample) -> Option<Change> {
    let (old, new) = (old.logarithms()?, new.logarithms()?);
    let variance = old.variance_of_mean + new.variance_of_mean;
    let freedom = if variance > 0.0 {
        let parts = [&old, &new].map(|of| of.variance_of_mean.powi(2) / of.freedom);
        variance.powi(2) / parts.iter().sum::<f64>()
    } else {
        old.freedom + new.freedom
    };
    let noise = student(freedom) * variance.sqrt();
    Some(Change {
        ratio: (new.mean - old.mean).exp(),
        detectable: noise.exp().max(1.0 + FLOOR),
    })
}

/// Returns whether figures are larger than others beyond their noise, by their order alone: of all pairs at
/// most one in [`PAIRS`] says otherwise, and the middle is larger by [`FLOOR`].
///
/// For few runs of which one may have gone astray, where [`compare`] can tell almost nothing: by chance it
/// says so of equal sets of three once in twenty times, of five less than once in a hundred (Mann and
/// Whitney, "On a test", Annals of Mathematical Statistics 18, 1947). Fewer than three never are.
#[must_use]
pub fn exceeds(these: &Sample, others: &Sample) -> bool {
    let (Some(middle), Some(other)) = (these.median(), others.median()) else {
        return false;
    };
    let against = |one: &&f64| others.sorted.iter().filter(|other| other >= one).count();
    let n_against: usize = these.sorted.iter().map(|one| against(&one)).sum();
    these.len().min(others.len()) >= 3
        && n_against <= these.len() * others.len() / PAIRS
        && middle >= other * (1.0 + FLOOR)
}

/// One pair of five times five.
const PAIRS: usize = 25;

/// What Student's t rarely exceeds, for the next lower whole number of degrees of freedom: doubt makes
/// wider.
fn student(freedom: f64) -> f64 {
    let whole = STUDENT.iter().zip(1_u32..).map(|(t, n)| (f64::from(n), *t));
    let below = whole.chain(STUDENT_FROM);
    let below = below.take_while(|(from, _)| *from <= freedom);
    below.last().map_or(STUDENT[0], |(_, t)| t)
}

/// Returns from which window on a run is steady: the first of `N_STEADY` in a row that all lie within
/// `STEADY` of their own median. Nothing if it never is.
#[must_use]
pub fn steady_from(windows: &[f64]) -> Option<usize> {
    windows.windows(N_STEADY).position(|few| {
        let sample = Sample::new(few.iter().copied());
        let Some(median) = sample.median() else {
            return false;
        };
        sample.len() == N_STEADY && few.iter().all(|one| (one / median - 1.0).abs() <= STEADY)
    })
}

/// How many windows in a row must agree: fewer agree by chance while a server's queue fills.
const N_STEADY: usize = 5;

/// How far they may lie apart. A tenth: what a busy loopback server scatters by in windows of a second's
/// fraction.
const STEADY: f64 = 0.1;

/// Counts of runs are small.
fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn sample(figures: &[f64]) -> Sample {
        Sample::new(figures.iter().copied())
    }

    #[test]
    fn one_astray_run_moves_neither_middle_nor_spread() {
        let quiet = sample(&[100.0, 102.0, 98.0, 101.0, 99.0]);
        let astray = sample(&[100.0, 102.0, 98.0, 101.0, 9.0]);
        assert_eq!((quiet.median(), quiet.spread()), (Some(100.0), Some(0.01)));
        assert_eq!(
            (astray.median(), astray.spread()),
            (Some(100.0), Some(0.02))
        );
        assert!(!astray.is_too_wide());
        assert!(sample(&[100.0, 200.0, 50.0]).is_too_wide());
    }

    #[test]
    fn what_was_not_measured_is_no_figure() {
        let none = sample(&[0.0, f64::NAN, f64::INFINITY, -1.0]);
        assert!(none.is_empty());
        assert_eq!(
            (none.median(), none.spread(), none.range()),
            (None, None, None)
        );
        assert_eq!(compare(&none, &sample(&[1.0, 2.0])), None);
        assert_eq!(compare(&sample(&[1.0]), &sample(&[1.0, 2.0])), None);
    }

    #[test]
    fn equal_figures_still_leave_a_floor_of_two_percent() {
        let change = compare(&sample(&[5.0, 5.0]), &sample(&[5.05, 5.05])).unwrap();
        assert!(!change.is_real(), "{change:?}");
        assert!((change.detectable - 1.02).abs() < 1e-9);
        assert!(
            compare(&sample(&[5.0, 5.0]), &sample(&[5.2, 5.2]))
                .unwrap()
                .is_real()
        );
        assert!(
            compare(&sample(&[5.2, 5.2]), &sample(&[5.0, 5.0]))
                .unwrap()
                .is_real()
        );
    }

    /// Runs whose figures scatter evenly by three percent, seeded.
    fn runs(rng: &mut ChaCha8Rng, middle: f64) -> Sample {
        Sample::new((0..5).map(|_| middle * (1.0 + 0.06 * (rng.random::<f64>() - 0.5))))
    }

    #[test]
    fn noise_is_rarely_a_change_and_a_fifth_nearly_always() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut n_false, mut n_found) = (0, 0);
        for _ in 0..1000 {
            let old = runs(&mut rng, 100.0);
            n_false += u32::from(compare(&old, &runs(&mut rng, 100.0)).unwrap().is_real());
            n_found += u32::from(compare(&old, &runs(&mut rng, 80.0)).unwrap().is_real());
        }
        assert!(n_false <= 5, "{n_false} of 1000");
        assert!(n_found >= 995, "{n_found} of 1000");
    }

    #[test]
    fn degrees_of_freedom_are_rounded_down() {
        assert!((student(4.9) - 8.610).abs() < 1e-9);
        assert!((student(0.5) - 636.619).abs() < 1e-9);
        assert!((student(30.5) - 3.646).abs() < 1e-9);
        assert!((student(99.0) - 3.460).abs() < 1e-9);
    }

    #[test]
    fn a_run_is_steady_once_five_windows_agree() {
        let windows = [1.0, 40.0, 80.0, 100.0, 104.0, 99.0, 97.0, 103.0, 10.0];
        assert_eq!(steady_from(&windows), Some(3));
        assert_eq!(steady_from(&windows[..7]), None);
        assert_eq!(steady_from(&[0.0; 9]), None);
    }

    #[test]
    fn few_runs_are_larger_if_almost_every_pair_says_so() {
        let of = |figures: &[f64]| Sample::new(figures.iter().copied());
        let exceeds = |these: &[f64], others: &[f64]| exceeds(&of(these), &of(others));
        assert!(exceeds(&[20.0, 21.0, 22.0], &[10.0, 10.1, 11.0]));
        assert!(!exceeds(&[20.0, 21.0], &[10.0, 10.1]));
        // One of nine pairs is too many, one of twenty-five is not.
        assert!(!exceeds(&[20.0, 21.0, 10.5], &[10.0, 10.1, 11.0]));
        let old = [10.0, 10.1, 10.2, 10.3, 10.4];
        assert!(exceeds(&[20.0, 20.0, 20.0, 20.0, 10.35], &old));
        assert!(!exceeds(&[20.0, 20.0, 20.0, 20.0, 10.25], &old));
        assert!(!exceeds(&[10.41, 10.42, 10.43, 10.44, 10.45], &[10.4; 5]));
        assert!(!exceeds(&old, &[]));
    }
}
