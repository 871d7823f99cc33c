//! What is on the screen, and what keys do to it.

use super::interval::{Interval, Look};
use blkstay_engine::control::Command;
use blkstay_engine::report::{HeldRequest, StatsReport};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::collections::VecDeque;
use std::time::Duration;

/// Most intervals that are remembered; no terminal is wider.
const REMEMBERED_MAX: usize = 1024;

/// Everything that is shown.
pub struct View {
    /// Whom it is about.
    pub socket: String,
    /// Requests a second in each interval, oldest first.
    pub history: VecDeque<u64>,
    /// The last whole interval.
    pub interval: Option<Interval>,
    /// What is held now.
    pub held: Vec<HeldRequest>,
    /// What there is to say: the answer to a key, or why nothing is heard.
    pub said: String,
    /// Whether the daemon is out of reach: what is shown is old.
    pub lost: bool,
    /// Whether a person has to confirm that everything is released.
    pub asking: bool,
    /// The first of the held requests that is shown.
    pub scroll: usize,
    period: Duration,
    /// The counters at the beginning of the interval that has not passed.
    before: Option<StatsReport>,
}

/// What a key asks for.
#[derive(Debug, PartialEq)]
pub enum Wish {
    /// Nothing but another screen.
    Nothing,
    /// The end.
    Quit,
    /// Something of the daemon.
    Ask(Command),
}

impl View {
    /// Nothing is known yet.
    pub fn new(socket: String, period: Duration) -> View {
        View {
            socket,
            history: VecDeque::new(),
            interval: None,
            held: Vec::new(),
            said: "connecting".to_owned(),
            lost: true,
            asking: false,
            scroll: 0,
            period,
            before: None,
        }
    }

    /// The daemon has told how it stands. What comes before an interval is over, after a key, changes states alone.
    pub fn look(&mut self, look: Look) {
        if std::mem::replace(&mut self.lost, false) {
            self.said.clear();
        }
        let so_far = self.before.as_ref().map(|before| look.stats.uptime_ns.checked_sub(before.uptime_ns));
        let passed = so_far.flatten().map(Duration::from_nanos);
        let over = passed.is_none_or(|passed| passed >= self.period.mul_f64(0.9));
        let interval = Interval::new(self.before.as_ref(), &look);
        self.held = look.held;
        self.scroll = self.scroll.min(self.held.len().saturating_sub(1));
        match &mut self.interval {
            Some(shown) if !over => {
                let Interval { connected, bytes, policy, in_flight, held, uptime_ns, .. } = interval;
                (shown.connected, shown.bytes, shown.policy) = (connected, bytes, policy);
                (shown.in_flight, shown.held, shown.uptime_ns) = (in_flight, held, uptime_ns);
            }
            _ => {
                // The first is everything since the daemon started, which is no interval.
                if passed.is_some() {
                    self.history.push_back(interval.all.iops.round() as u64);
                }
                while self.history.len() > REMEMBERED_MAX {
                    self.history.pop_front();
                }
                self.interval = Some(interval);
                self.before = Some(look.stats);
            }
        }
    }

    /// The daemon does not answer.
    pub fn lose(&mut self, why: String) {
        (self.lost, self.said, self.asking) = (true, why, false);
    }

    /// A key was pressed.
    pub fn key(&mut self, key: KeyEvent) -> Wish {
        if key.kind == KeyEventKind::Release {
            return Wish::Nothing;
        }
        if !self.lost {
            self.said.clear();
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if std::mem::take(&mut self.asking) && !control {
            return match key.code {
                KeyCode::Char('y' | 'Y') => Wish::Ask(Command::Release { request: None, point: None }),
                _ => self.say("nothing was released"),
            };
        }
        match key.code {
            KeyCode::Char('c') if control => Wish::Quit,
            KeyCode::Char('q') | KeyCode::Esc => Wish::Quit,
            KeyCode::Char('p' | 'r') if self.lost => Wish::Nothing,
            KeyCode::Char('p') if self.interval.as_ref().is_some_and(|shown| shown.policy.paused) => {
                Wish::Ask(Command::Resume)
            }
            KeyCode::Char('p') => Wish::Ask(Command::Pause { queue: None, watchdog_ns: None }),
            KeyCode::Char('r') if self.held.is_empty() => self.say("nothing is held"),
            KeyCode::Char('r') => {
                self.asking = true;
                Wish::Nothing
            }
            code => {
                self.scroll = self.scrolled(code);
                Wish::Nothing
            }
        }
    }

    fn say(&mut self, words: &str) -> Wish {
        self.said = words.to_owned();
        Wish::Nothing
    }

    fn scrolled(&self, code: KeyCode) -> usize {
        let last = self.held.len().saturating_sub(1);
        match code {
            KeyCode::Up => self.scroll.saturating_sub(1),
            KeyCode::Down => (self.scroll + 1).min(last),
            KeyCode::PageUp => self.scroll.saturating_sub(10),
            KeyCode::PageDown => (self.scroll + 10).min(last),
            KeyCode::Home => 0,
            KeyCode::End => last,
            _ => self.scroll,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixed;
    use super::*;

    fn view() -> View {
        let mut view = View::new("ctl".to_owned(), Duration::from_secs(1));
        view.look(fixed::look(1));
        view.look(fixed::look(2));
        view
    }

    fn press(view: &mut View, key: char) -> Wish {
        view.key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE))
    }

    #[test]
    fn everything_is_released_only_if_a_person_says_yes() {
        let mut view = view();
        assert_eq!((press(&mut view, 'r'), view.asking), (Wish::Nothing, true));
        assert_eq!((press(&mut view, 'q'), view.asking), (Wish::Nothing, false));
        assert_eq!(view.said, "nothing was released");
        press(&mut view, 'r');
        let all = Wish::Ask(Command::Release { request: None, point: None });
        assert_eq!((press(&mut view, 'y'), press(&mut view, 'y')), (all, Wish::Nothing));
        view.held.clear();
        assert_eq!((press(&mut view, 'r'), view.asking), (Wish::Nothing, false));
    }

    #[test]
    fn the_same_key_pauses_and_resumes() {
        let mut view = view();
        assert_eq!(press(&mut view, 'p'), Wish::Ask(Command::Pause { queue: None, watchdog_ns: None }));
        let mut look = fixed::look(2);
        (look.stats.policy.paused, look.stats.uptime_ns) = (true, 2_100_000_000);
        view.look(look);
        assert_eq!(press(&mut view, 'p'), Wish::Ask(Command::Resume));
        assert_eq!(view.history, [1500], "a look between intervals is none");
        view.lose("the daemon is gone".to_owned());
        assert_eq!(press(&mut view, 'p'), Wish::Nothing);
        assert_eq!(view.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Wish::Quit);
    }

    #[test]
    fn scrolling_ends_where_the_list_does() {
        let mut view = view();
        let one = view.held[0].clone();
        view.held.resize(12, one);
        let mut after = |code| {
            view.key(KeyEvent::new(code, KeyModifiers::NONE));
            view.scroll
        };
        assert_eq!(
            [KeyCode::Up, KeyCode::Down, KeyCode::PageDown, KeyCode::PageDown].map(&mut after),
            [0, 1, 11, 11]
        );
        assert_eq!([KeyCode::PageUp, KeyCode::Home, KeyCode::End].map(&mut after), [1, 0, 11]);
        view.look(fixed::look(3));
        assert_eq!(view.scroll, 0, "one is left");
    }
}
