//! Whose answer is whose: every call on the port has a number that no other call has.

use std::collections::BTreeMap;

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To the agent itself: the ping it starts with.
    Agent,
    /// To a client's call.
    Client(Caller),
    /// It says that a part of the kernel's log, sent for this call, has been recorded.
    KernelLog(Caller),
}

/// A call of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caller {
    /// The client's connection.
    pub client: u64,
    /// The number that the client gave the call.
    pub id: u64,
}

/// Calls that are not answered yet.
#[derive(Debug)]
pub struct Routes {
    next: u64,
    pending: BTreeMap<u64, Route>,
}

impl Routes {
    /// Numbers begin at `first`. A random one keeps the answers to an earlier agent's calls apart.
    pub fn starting_at(first: u64) -> Self {
        Routes { next: first, pending: BTreeMap::new() }
    }

    /// A fresh number for a call whose answer goes to `route`.
    pub fn add(&mut self, route: Route) -> u64 {
        let id = self.next;
        self.next += 1;
        self.pending.insert(id, route);
        id
    }

    /// Where the answer with this number goes; `None` if nobody waits for it.
    pub fn take(&mut self, id: u64) -> Option<Route> {
        self.pending.remove(&id)
    }

    /// Forgets every call: none of them will be answered.
    pub fn take_all(&mut self) -> Vec<Route> {
        std::mem::take(&mut self.pending).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Caller, Route, Routes};

    #[test]
    fn each_call_has_its_own_number_and_is_answered_once() {
        let mut routes = Routes::starting_at(70);
        let first = Route::Client(Caller { client: 2, id: 1 });
        let second = Route::Client(Caller { client: 3, id: 1 });
        assert_eq!((routes.add(first), routes.add(second)), (70, 71));
        assert_eq!(routes.take(71), Some(second));
        assert_eq!(routes.take(71), None);
        assert_eq!(routes.take(1), None);
        assert_eq!(routes.take_all(), [first]);
        assert_eq!(routes.take(70), None);
    }
}
