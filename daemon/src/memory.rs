//! The guest's memory, and what is left of this process' own when one is gone.

use crate::cut::Watched;
use std::ops::Deref;
use std::sync::Arc;
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};

/// Where a ring's own idea of the guest's memory is set.
pub type MemoryMap = GuestMemoryAtomic<GuestMemoryMmap>;

/// The guest's memory as it was when a request arrived; stays mapped as long as anybody holds it.
///
/// Each ring has one of its own around the same map, so that threads that serve different rings do not count in the
/// same place.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Map>);

#[derive(Debug)]
struct Map {
    /// Let go of before what is watched.
    _watched: Option<Arc<[Watched]>>,
    map: Arc<GuestMemoryMmap>,
}

impl Memory {
    /// For the use of one ring.
    pub fn new(map: Arc<GuestMemoryMmap>) -> Memory {
        Memory(Arc::new(Map { _watched: None, map }))
    }

    /// The same for memory that may be cut short.
    pub fn watched(map: Arc<GuestMemoryMmap>, watched: Arc<[Watched]>) -> Memory {
        Memory(Arc::new(Map { _watched: Some(watched), map }))
    }
}

impl Deref for Memory {
    type Target = GuestMemoryMmap;

    fn deref(&self) -> &GuestMemoryMmap {
        &self.0.map
    }
}

/// Gives back what was allocated for a guest and is free again. Each thread has a heap of its own, and a guest has threads
/// of its own, so without this each would leave some pages behind.
pub fn give_back() {
    // SAFETY: it takes no pointer, and may be called at any time by any thread (malloc_trim(3)).
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
