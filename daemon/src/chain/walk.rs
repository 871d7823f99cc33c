//! Follows a chain through its table (virtio 1.3, sections 2.7.5 and 2.7.5.3): a list that ends, every link of it in a
//! table that is in memory.

use super::Broken;
use virtio_queue::desc::split::Descriptor;
use vm_memory::{ByteValued, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, VolatileSlice};

/// A table of descriptors in guest memory.
#[derive(Clone, Copy, Debug)]
pub struct Table<'m> {
    slice: VolatileSlice<'m>,
    entries: u16,
}

/// Bytes of a descriptor.
const ENTRY: usize = size_of::<Descriptor>();

impl<'m> Table<'m> {
    /// The table with so many descriptors at that place.
    ///
    /// # Errors
    /// It is outside memory.
    pub fn new(at: GuestAddress, entries: u16, memory: &'m GuestMemoryMmap) -> Result<Table<'m>, Broken> {
        let slice = memory.get_slice(at, ENTRY * usize::from(entries)).map_err(|_| Broken::NoList)?;
        Ok(Table { slice, entries })
    }

    /// The table that a descriptor of another one refers to.
    fn indirect(descriptor: &Descriptor, memory: &'m GuestMemoryMmap) -> Result<Table<'m>, Broken> {
        let bytes = descriptor.len() as usize;
        let entries = u16::try_from(bytes / ENTRY).ok().filter(|entries| *entries > 0);
        match entries.filter(|_| bytes.is_multiple_of(ENTRY) && !descriptor.has_next()) {
            Some(entries) => Table::new(descriptor.addr(), entries, memory),
            None => Err(Broken::NoList),
        }
    }
}

/// Replaces `descriptors` by those of the chain that begins with `head`; an indirect table stands for the rest.
///
/// # Errors
/// It is no list.
pub fn walk<'m>(
    mut table: Table<'m>,
    head: u16,
    memory: &'m GuestMemoryMmap,
    descriptors: &mut Vec<Descriptor>,
) -> Result<(), Broken> {
    descriptors.clear();
    let mut index = head;
    let (mut left, mut is_indirect, mut bytes) = (table.entries, false, 0_u32);
    loop {
        if index >= table.entries || left == 0 {
            return Err(Broken::NoList);
        }
        left -= 1;
        let descriptor: Descriptor = read(&table.slice, index)?;
        if descriptor.refers_to_indirect_table() {
            if is_indirect {
                return Err(Broken::NoList);
            }
            (table, index) = (Table::indirect(&descriptor, memory)?, 0);
            (left, is_indirect) = (table.entries, true);
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
