//! What all guests of a run share.

use super::accel::{self, Accel};
use super::booted::Boots;
use super::progress::Progress;
use super::temporary;
use crate::kernel::Cache;
use anyhow::Result;
use std::path::Path;
use tokio::sync::OnceCell;

/// Processors of a guest unless somebody says otherwise.
pub const CPUS: u16 = 2;

/// The lab.
pub struct Lab {
    /// Where kernels are kept.
    pub cache: Cache,
    /// What the person is shown meanwhile.
    pub progress: Progress,
    /// Processors of each guest.
    pub cpus: u16,
    /// Whether what an earlier run did not finish is run again: its kept files give way.
    pub resumes: bool,
    /// Guests that have booted for several cells.
    pub boots: Boots,
    accel: OnceCell<Accel>,
}

impl Lab {
    /// A lab in which nothing has been tried yet, for guests of two processors.
    ///
    /// # Errors
    /// There is no place for a cache.
    pub fn new() -> Result<Lab> {
        let (cache, progress) = (Cache::from_env()?, Progress::new());
        temporary::sweep();
        Ok(Lab {
            cache,
            progress,
            cpus: CPUS,
            resumes: false,
            boots: Boots::default(),
            accel: OnceCell::new(),
        })
    }

    /// How guests are run; the first one's kernel is tried, and the others wait for what that shows.
    pub async fn accel(&self, kernel: &Path, initramfs: &Path) -> Accel {
        let choose = || async {
            self.progress.say("choosing between KVM and emulation");
            accel::choose(&self.cache, kernel, initramfs).await
        };
        *self.accel.get_or_init(choose).await
    }
}
