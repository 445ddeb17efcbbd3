//! How many requests a second a server takes, once it has asked to slow down.
//!
//! Some servers count requests and refuse those above a number, however few are under way at once. Until
//! one does, there is no rate. From then on requests go out evenly: first as fast as the server took them at
//! its best, and less by the share that it refuses. The rate comes back to where it was refused within
//! seconds, stays near it for a while, and then grows faster and faster (the way of CUBIC, RFC 9438, of rates
//! instead of windows), so that a limit is felt for by few requests and one that is gone is forgotten.
//!
//! It goes by shares and not by what was taken in a second, since requests that were refused wait before they
//! come again, and few may be left to send. Answers to what was sent before the last cut say nothing about
//! it. Single refusals are noise: up to one in a hundred requests changes nothing.
//!
//! Pure: the time comes in as an argument.

use std::time::Duration;

/// A refusal brings the rate to this share of what the server took.
const CUT: f64 = 0.95;

/// No cut is deeper than this: what answers nothing at all for a moment comes back.
const DEEPEST_CUT: f64 = 0.5;

/// So many requests are thought to have been taken beside those that were: a refusal among few says less.
const DOUBT: f64 = 5.0;

/// So long after a cut the rate is where it was before. Cuts of requests that waited are over by then.
const RETURN: Duration = Duration::from_secs(4);

/// How fast the rate grows beyond that: after so long by a factor of *e*, after twice as long by *e*⁸.
const GROWTH: Duration = Duration::from_secs(10);

/// Of the last second's requests, this share may be refused.
const TOLERATED: f64 = 0.01;

/// Between two cuts: what the first has done must show.
const PATIENCE: Duration = Duration::from_millis(200);

/// How far requests may lag behind their turns and still catch up: timers wake up milliseconds late.
const LAG: Duration = Duration::from_millis(10);

/// The least rate, in requests a second: less is no copy any more.
const LEAST: f64 = 1.0;

/// The rate of requests, and when the next has its turn.
#[derive(Clone, Debug, Default)]
pub(super) struct Rate {
    curve: Option<Curve>,
    /// When the next request has its turn.
    next_at: Duration,
    last_second: LastSecond,
}

/// How a rate grows after a cut.
#[derive(Clone, Copy, Debug)]
struct Curve {
    /// Requests a second before the cut, and after it.
    top: f64,
    low: f64,
    began: Duration,
}

impl Curve {
    fn at(&self, now: Duration) -> f64 {
        let since = now.saturating_sub(self.began);
        if let Some(left) = RETURN.checked_sub(since) {
            let left = left.div_duration_f64(RETURN);
            return self.top - (self.top - self.low) * left.powi(3);
        }
        let beyond = (since - RETURN).div_duration_f64(GROWTH);
        // e²⁰ times the rate of any server is no bound at all.
        self.top * beyond.powi(3).min(20.0).exp()
    }
}

impl Rate {
    /// Returns how many requests a second may be sent, if there is a bound.
    pub(super) fn at(&self, now: Duration) -> Option<f64> {
        self.curve.map(|curve| curve.at(now))
    }

    /// Returns how long the next request waits for its turn, and gives that away.
    pub(super) fn take_turn(&mut self, now: Duration) -> Duration {
        let Some(rate) = self.at(now) else {
            return Duration::ZERO;
        };
        let at = self.next_at.max(now.saturating_sub(LAG));
        self.next_at = at + Duration::from_secs_f64(1.0 / rate);
        at.saturating_sub(now)
    }

    /// Learns that a request of some moment was taken.
    pub(super) fn is_taken(&mut self, now: Duration, sent: Duration) {
        if self.is_of_now(sent) {
            self.last_second.note(now).taken += 1;
        }
    }

    /// Learns that a request of some moment was refused; says whether the rate is cut for it.
    pub(super) fn is_refused(&mut self, now: Duration, sent: Duration) -> bool {
        if !self.is_of_now(sent) {
            return false;
        }
        self.last_second.note(now).refused += 1;
        let (taken, refused) = self.last_second.sum(now);
        let is_recent = |curve: &Curve| now.saturating_sub(curve.began) < PATIENCE;
        let is_noise = refused <= TOLERATED * (taken + refused);
        if is_noise || self.curve.as_ref().is_some_and(is_recent) {
            return false;
        }
        let top = match self.at(now) {
            Some(rate) => {
                let share = refused / (taken + refused + DOUBT);
                rate * (1.0 - share).max(DEEPEST_CUT)
            }
            None => self.last_second.best(now),
        };
        let top = top.max(LEAST);
        self.curve = Some(Curve {
            top,
            low: (CUT * top).max(LEAST),
            began: now,
        });
        self.last_second = LastSecond::default();
        true
    }

    /// Whether what was sent at some moment was sent at today's rate.
    fn is_of_now(&self, sent: Duration) -> bool {
        self.curve.is_none_or(|curve| sent >= curve.began)
    }
}

/// The length of a slot.
const SLOT: Duration = Duration::from_millis(100);
/// So many make a second.
const N_SLOTS: usize = 10;

/// What was answered in the last second.
#[derive(Clone, Debug, Default)]
struct LastSecond {
    slots: [Slot; N_SLOTS],
    /// When the first request was answered.
    began: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Which of all slots since the clock began this is.
    number: u64,
    taken: u32,
    refused: u32,
}

fn number(now: Duration) -> u64 {
    u64::try_from(now.as_millis() / SLOT.as_millis()).unwrap_or(u64::MAX)
}

impl LastSecond {
    fn note(&mut self, now: Duration) -> &mut Slot {
        self.began.get_or_insert(now);
        let number = number(now);
        let place = usize::try_from(number).unwrap_or_default() % N_SLOTS;
        let slot = &mut self.slots[place];
        if slot.number != number {
            *slot = Slot {
                number,
                ..Slot::default()
            };
        }
        slot
    }

    /// Returns how many requests were taken and refused.
    fn sum(&self, now: Duration) -> (f64, f64) {
        let newest = number(now);
        let is_of_it = |slot: &&Slot| newest - slot.number.min(newest) < 10;
        let (mut taken, mut refused) = (0.0, 0.0);
        for slot in self.slots.iter().filter(is_of_it) {
            taken += f64::from(slot.taken);
            refused += f64::from(slot.refused);
        }
        (taken, refused)
    }

    /// Returns how many requests a second were taken at best: in one slot, or since the first answer.
    ///
    /// Rather too many than too few: too many are cut down within a second, and too few grow for many.
    fn best(&self, now: Duration) -> f64 {
        let most = self.slots.iter().map(|slot| slot.taken).max();
        let in_slot = f64::from(most.unwrap_or_default()) / SLOT.as_secs_f64();
        let since = now.saturating_sub(self.began.unwrap_or(now));
        let (taken, _) = self.sum(now);
        in_slot.max(taken / since.clamp(SLOT / 10, SLOT * 10).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// A server that takes so many requests a second, a tenth of a second's at once, and answers after
    /// `RTT`; beside that it refuses a share of all requests for no reason.
    struct Server {
        per_second: f64,
        tokens: f64,
        at: Duration,
        noise: f64,
        rng: ChaCha8Rng,
    }

    const RTT: Duration = Duration::from_millis(20);
    /// A client that is not slowed down sends a request every so often.
    const PERIOD: Duration = Duration::from_micros(200);
    const SECOND: Duration = Duration::from_secs(1);

    impl Server {
        fn new(per_second: f64) -> Self {
            Self {
                per_second,
                tokens: 1.0,
                at: Duration::ZERO,
                noise: 0.0,
                rng: ChaCha8Rng::seed_from_u64(7),
            }
        }

        fn burst(&self) -> f64 {
            (0.1 * self.per_second).max(1.0)
        }

        fn takes(&mut self, now: Duration) -> bool {
            let more = self.per_second * (now - self.at).as_secs_f64();
            self.tokens = (self.tokens + more).min(self.burst());
            self.at = now;
            let takes = self.tokens >= 1.0 && self.rng.random::<f64>() >= self.noise;
            if takes {
                self.tokens -= 1.0;
            }
            takes
        }
    }

    /// A closed loop of so many clients, each of which waits after a refusal as `retry` does; returns how many
    /// requests were taken and refused.
    fn run_closed(
        rate: &mut Rate,
        server: &mut Server,
        n_clients: usize,
        now: &mut Duration,
        span: Duration,
    ) -> (u32, u32) {
        let (mut taken, mut refused) = (0, 0);
        let mut ready = vec![(*now, 1_u32); n_clients];
        let end = *now + span;
        while *now < end {
            let next = ready.iter_mut().min_by_key(|(at, _)| *at).unwrap();
            *now = next.0.max(*now);
            let sent = *now + rate.take_turn(*now);
            *now = sent;
            let answered = sent + Duration::from_micros(300);
            if server.takes(sent) {
                rate.is_taken(answered, sent);
                *next = (answered, 1);
                taken += 1;
            } else {
                rate.is_refused(answered, sent);
                let bound = Duration::from_millis(100) * (1 << next.1.min(6));
                *next = (answered + bound.mul_f64(server.rng.random()), next.1 + 1);
                refused += 1;
            }
        }
        (taken, refused)
    }

    /// Sends without end for `span`, from `now` on; returns how many requests were taken and refused.
    fn run(rate: &mut Rate, server: &mut Server, now: &mut Duration, span: Duration) -> (u32, u32) {
        let end = *now + span;
        let (mut taken, mut refused) = (0, 0);
        let mut answers = VecDeque::new();
        while *now < end {
            while let Some((_, is_taken)) = answers.pop_front_if(|(at, _)| *at <= *now) {
                let sent = *now - RTT;
                if is_taken {
                    rate.is_taken(*now, sent);
                } else {
                    rate.is_refused(*now, sent);
                }
            }
            *now += rate.take_turn(*now).max(PERIOD);
            let is_taken = server.takes(*now);
            answers.push_back((*now + RTT, is_taken));
            if is_taken {
                taken += 1;
            } else {
                refused += 1;
            }
        }
        (taken, refused)
    }

    /// Returns the share of the server's requests that were used, and that of the refused ones.
    fn shares(per_second: f64, (taken, refused): (u32, u32), span: Duration) -> (f64, f64) {
        let (taken, refused) = (f64::from(taken), f64::from(refused));
        let used = taken / (per_second * span.as_secs_f64());
        (used, refused / (taken + refused))
    }

    #[test]
    fn a_limit_is_found_and_used() {
        for (per_second, least_used, most_refused) in [
            (5.0, 0.6, 0.1),
            (50.0, 0.98, 0.01),
            (200.0, 0.98, 0.005),
            (4000.0, 0.98, 0.005),
        ] {
            let (mut rate, mut now) = (Rate::default(), SECOND);
            let mut server = Server::new(per_second);
            run(&mut rate, &mut server, &mut now, 10 * SECOND);
            let span = 60 * SECOND;
            let done = run(&mut rate, &mut server, &mut now, span);
            let (used, refused) = shares(per_second, done, span);
            let is_good = used > least_used && refused < most_refused;
            assert!(is_good, "{per_second}: {used} {refused}");
        }
    }

    /// A closed loop once ended at half of the limit: those who wait after a refusal send nothing.
    #[test]
    fn clients_that_wait_after_refusals_use_the_limit_all_the_same() {
        for n_clients in [16, 64] {
            let (mut rate, mut now) = (Rate::default(), SECOND);
            let mut server = Server::new(200.0);
            run_closed(&mut rate, &mut server, n_clients, &mut now, 2 * SECOND);
            let span = 6 * SECOND;
            let done = run_closed(&mut rate, &mut server, n_clients, &mut now, span);
            let (used, refused) = shares(200.0, done, span);
            let is_good = used > 0.93 && refused < 0.02;
            assert!(is_good, "{n_clients}: {used} {refused}");
        }
    }

    #[test]
    fn a_server_that_bears_more_is_asked_for_more() {
        let (mut rate, mut now) = (Rate::default(), SECOND);
        let mut server = Server::new(200.0);
        run(&mut rate, &mut server, &mut now, 10 * SECOND);
        server.per_second = 4000.0;
        run(&mut rate, &mut server, &mut now, 30 * SECOND);
        assert!(rate.at(now).unwrap() > 3000.0, "{:?}", rate.at(now));
    }

    #[test]
    fn what_takes_nothing_for_a_moment_comes_back() {
        let (mut rate, mut now) = (Rate::default(), SECOND);
        let mut server = Server::new(2000.0);
        run(&mut rate, &mut server, &mut now, 10 * SECOND);
        server.noise = 1.0;
        run(&mut rate, &mut server, &mut now, 2 * SECOND);
        assert!(rate.at(now).unwrap() < 100.0, "{:?}", rate.at(now));
        server.noise = 0.0;
        run(&mut rate, &mut server, &mut now, 25 * SECOND);
        assert!(rate.at(now).unwrap() > 1500.0, "{:?}", rate.at(now));
    }

    #[test]
    fn single_refusals_are_noise() {
        let (mut rate, mut now) = (Rate::default(), SECOND);
        let mut server = Server::new(1e9);
        run(&mut rate, &mut server, &mut now, SECOND);
        server.noise = 0.003;
        run(&mut rate, &mut server, &mut now, 10 * SECOND);
        assert_eq!(rate.at(now), None);
    }

    #[test]
    fn without_a_refusal_nobody_waits() {
        let mut rate = Rate::default();
        let turns = (0..1000).map(|_| rate.take_turn(SECOND));
        assert_eq!(turns.max(), Some(Duration::ZERO));
    }
}
