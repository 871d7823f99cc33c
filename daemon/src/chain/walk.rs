//! Follows a chain through its table (virtio 1.3, sections 2.7.5 and 2.7.5.3): a list that ends, every link of it in a
//! table that is in memory.

use super::Broken;
use virtio_queue::desc::split::Descriptor;
use vm_memory::{ByteValued, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, VolatileSlice};

/// A table of descriptors.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Where it is in guest memory.
    pub at: GuestAddress,
    /// How many it has.
    pub entries: u16,
}

/// Bytes of a descriptor.
const ENTRY: usize = size_of::<Descriptor>();

impl Table {
    fn slice(self, memory: &GuestMemoryMmap) -> Result<VolatileSlice<'_>, Broken> {
        memory.get_slice(self.at, ENTRY * usize::from(self.entries)).map_err(|_| Broken::NoList)
    }

    /// The table that a descriptor of another one refers to.
    fn indirect(descriptor: &Descriptor) -> Result<Table, Broken> {
        let bytes = descriptor.len() as usize;
        let entries = u16::try_from(bytes / ENTRY).ok().filter(|entries| *entries > 0);
        match entries.filter(|_| bytes.is_multiple_of(ENTRY) && !descriptor.has_next()) {
            Some(entries) => Ok(Table { at: descriptor.addr(), entries }),
            None => Err(Broken::NoList),
        }
    }
}

/// Replaces `descriptors` by those of the chain that begins with `head`; an indirect table stands for the rest.
///
/// # Errors
/// It is no list.
pub fn walk(
    table: Table,
    head: u16,
    memory: &GuestMemoryMmap,
    descriptors: &mut Vec<Descriptor>,
) -> Result<(), Broken> {
    descriptors.clear();
    let (mut slice, mut entries, mut index) = (table.slice(memory)?, table.entries, head);
    let (mut left, mut is_indirect, mut bytes) = (entries, false, 0_u32);
    loop {
        if index >= entries || left == 0 {
            return Err(Broken::NoList);
        }
        left -= 1;
        let descriptor: Descriptor = read(&slice, index)?;
        if descriptor.refers_to_indirect_table() {
            if is_indirect {
                return Err(Broken::NoList);
            }
            let table = Table::indirect(&descriptor)?;
            (slice, entries, index) = (table.slice(memory)?, table.entries, 0);
            (left, is_indirect) = (entries, true);
            continue;
        }
        // "Drivers MUST NOT add a descriptor chain longer than 2^32 bytes in total" (section 2.7.5.2).
        bytes = bytes.checked_add(descriptor.len()).ok_or(Broken::NoList)?;
        descriptors.push(descriptor);
        if !descriptor.has_next() {
            return Ok(());
        }
        index = descriptor.next();
    }
}

fn read<T: ByteValued>(slice: &VolatileSlice<'_>, index: u16) -> Result<T, Broken> {
    slice.read_obj(ENTRY * usize::from(index)).map_err(|_| Broken::NoList)
}
