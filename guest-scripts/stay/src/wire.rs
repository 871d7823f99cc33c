//! What travels between clients, agent and daemon, as far as the agent has to know it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The one command that the agent answers itself: send the kernel's log to the daemon.
pub const KERNEL_LOG: &str = "kernel-log";

/// A call that goes no further than the agent.
#[derive(Debug, Serialize)]
pub struct LocalCall {
    /// Chosen by the client.
    pub id: u64,
    /// What to do.
    #[serde(rename = "do")]
    pub verb: String,
}

/// A call or an answer of which only the `id` matters to the agent: the rest is between the two ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// The call's number, in the numbering of whoever is at the other end.
    pub id: u64,
    /// Everything else.
    #[serde(flatten)]
    pub body: Map<String, Value>,
}

impl Envelope {
    /// Whether it is the call that the agent answers itself.
    pub fn is_kernel_log(&self) -> bool {
        self.body.get("do").and_then(Value::as_str) == Some(KERNEL_LOG)
    }

    /// The refusal in it, if it is an answer that refuses.
    pub fn error(&self) -> Option<&str> {
        match self.body.get("is").and_then(Value::as_str) {
            Some("error") => {
                Some(self.body.get("message").and_then(Value::as_str).unwrap_or("no reason given"))
            }
            _ => None,
        }
    }
}
