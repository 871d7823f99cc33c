//! Chains that are right but for one thing or another.

use super::Random;
use super::world::{DISK, Layout, REGION, REGIONS};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// Where headers, statuses, tables of their own and data are.
const HEADERS: u64 = REGIONS[0] + (4 << 10);
const STATUSES: u64 = REGIONS[0] + (6 << 10);
const TABLES: u64 = REGIONS[0] + (8 << 10);
const TABLE: u64 = 256;
const DATA: u64 = REGIONS[1];

/// Most chains that are offered at once.
pub const CHAINS_MAX: u64 = 24;

#[derive(Clone, Copy)]
struct Descriptor {
    at: u64,
    length: u32,
    flags: u16,
    next: u16,
}

/// Writes chains into a guest's memory.
pub struct Composer<'w> {
    pub random: &'w mut Random,
    pub memory: &'w GuestMemoryMmap,
    pub layout: Layout,
    /// Data that was given out already.
    given: u64,
}

impl<'w> Composer<'w> {
    pub fn new(random: &'w mut Random, memory: &'w GuestMemoryMmap, layout: Layout) -> Composer<'w> {
        let given = random.below(REGION as u64) & !511;
        Composer { random, memory, layout, given }
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        // What is outside memory cannot be written by a guest either.
        let _ = self.memory.write_slice(bytes, GuestAddress(at));
    }

    /// Makes some chains available, `index` being the next entry; the index after them.
    pub fn offer(&mut self, mut index: u16) -> u16 {
        let Layout { size, available, .. } = self.layout;
        let (mut first, wanted) = (0, 1 + self.random.below(CHAINS_MAX));
        for number in 0..wanted {
            let mut chain = self.chain(number);
            if self.random.one_in(3) {
                self.link(&mut chain, 0);
                let (at, length) = (TABLES + TABLE * number, 16 * chain.len() as u32);
                self.store(at, 0, &chain);
                chain = vec![Descriptor { at, length, flags: INDIRECT, next: 0 }];
                if self.random.one_in(30) {
                    self.spoil(&mut chain[0]);
                }
            }
            if first + chain.len() > usize::from(size) {
                break;
            }
            self.link(&mut chain, first as u16);
            self.store(self.layout.table, first as u16, &chain);
            let head = if self.random.one_in(150) { self.random.next() as u16 } else { first as u16 };
            // A wild ring may be anywhere.
            self.put(available.wrapping_add(4 + 2 * u64::from(index % size)), &head.to_le_bytes());
            index = index.wrapping_add(1);
            first += chain.len();
        }
        if self.random.one_in(400) {
            index = index.wrapping_add(self.random.next() as u16);
        }
        self.put(available.wrapping_add(2), &index.to_le_bytes());
        index
    }

    fn store(&self, table: u64, first: u16, chain: &[Descriptor]) {
        for (number, Descriptor { at, length, flags, next }) in chain.iter().enumerate() {
            let bytes =
                [&at.to_le_bytes()[..], &length.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()];
            self.put(table.wrapping_add(16 * (u64::from(first) + number as u64)), &bytes.concat());
        }
    }

    fn chain(&mut self, number: u64) -> Vec<Descriptor> {
        let kind: u32 = self.random.pick(&[0, 0, 0, 0, 1, 1, 1, 1, 4, 8, 11, 13, 13, 77]);
        let header = HEADERS + 16 * number;
        let sector = self.sector();
        self.put(header, &[u64::from(kind).to_le_bytes(), sector.to_le_bytes()].concat());
        let mut chain = vec![Descriptor { at: header, length: 16, flags: 0, next: 0 }];
        match kind {
            11 | 13 => chain.push(self.clearing()),
            8 => chain.push(self.data(20, WRITE)),
            4 => {}
            _ => {
                for _ in 0..self.random.pick(&[0, 1, 1, 1, 2, 2, 3, 6, 7]) {
                    let length = 512 * self.random.pick(&[1, 1, 1, 2, 3, 8]);
                    let flags = if kind == 1 { 0 } else { WRITE };
                    chain.push(self.data(length, flags));
                }
            }
        }
        let status = self.random.pick(&[1, 1, 1, 1, 1, 2, 513]);
        let at = if status == 513 { self.data(513, WRITE).at } else { STATUSES + 4 * number };
        chain.push(Descriptor { at, length: status, flags: WRITE, next: 0 });
        self.arrange(&mut chain);
        if self.random.one_in(5) {
            let spoilt = self.random.below(chain.len() as u64) as usize;
            self.spoil(&mut chain[spoilt]);
        }
        chain
    }

    /// The same bytes in other pieces: a descriptor is split, or the header gets into one with what comes after it.
    fn arrange(&mut self, chain: &mut Vec<Descriptor>) {
        if self.random.one_in(6) && chain[1].flags & WRITE == 0 {
            let (header, data) = (chain[0], chain.remove(1));
            let together = self.data(header.length + data.length, 0);
            let mut bytes = vec![0; together.length as usize];
            let (first, second) = bytes.split_at_mut(header.length as usize);
            let read = [(header.at, first), (data.at, second)]
                .map(|(at, into)| self.memory.read_slice(into, GuestAddress(at)).is_ok());
            assert_eq!(read, [true; 2], "they are in memory");
            self.put(together.at, &bytes);
            chain[0] = together;
        }
        if self.random.one_in(4) {
            let any = self.random.below(chain.len() as u64) as usize;
            let index = self.random.pick(&[0, 0, any]);
            let whole = chain[index];
            let length = self.random.below(u64::from(whole.length) + 1) as u32;
            chain[index].length = length;
            let rest =
                Descriptor { at: whole.at + u64::from(length), length: whole.length - length, ..whole };
            chain.insert(index + 1, rest);
        }
    }

    fn sector(&mut self) -> u64 {
        let sectors = DISK as u64 / 512;
        match self.random.below(20) {
            0 => self.random.pick(&[sectors, sectors - 1, u64::MAX, u64::MAX >> 9, 1 << 55, 1 << 54]),
            _ => self.random.below(sectors),
        }
    }

    fn clearing(&mut self) -> Descriptor {
        let data = self.data(16, 0);
        let sectors: u32 = self.random.pick(&[0, 1, 3, 8, 8, 9, 16, 1 << 12, u32::MAX]);
        let flags: u32 = self.random.pick(&[0, 0, 0, 1, 2]);
        let sector = self.sector() & !self.random.pick(&[0, 7]);
        self.put(
            data.at,
            &[&sector.to_le_bytes()[..], &sectors.to_le_bytes(), &flags.to_le_bytes()].concat(),
        );
        data
    }

    /// Data that no other chain of the round has, as long as there is some.
    fn data(&mut self, length: u32, flags: u16) -> Descriptor {
        let bytes = u64::from(length).next_multiple_of(16);
        if self.given + bytes > REGION as u64 {
            self.given = 0;
        }
        let at = DATA + self.given;
        self.given += bytes;
        if flags == 0 {
            let word = self.random.next().to_le_bytes();
            self.put(at, &word.repeat(length.div_ceil(8) as usize)[..length as usize]);
        }
        Descriptor { at, length, flags, next: 0 }
    }

    fn spoil(&mut self, descriptor: &mut Descriptor) {
        let ends = REGIONS.map(|start| start + REGION as u64);
        match self.random.below(6) {
            0 => descriptor.flags ^= WRITE,
            1 => descriptor.flags |= INDIRECT,
            2 => descriptor.length = self.random.pick(&[0, 1, 15, 17, 511, 513, 4096, 1 << 31, u32::MAX]),
            3 => {
                let odd = [0, REGIONS[0] - 1, ends[0] - 1, ends[0], REGIONS[1] - 8, ends[1] - 15, u64::MAX];
                descriptor.at = self.random.pick(&odd);
            }
            4 => descriptor.at = REGIONS[0] + self.random.below(3 * REGION as u64),
            _ => descriptor.flags = self.random.next() as u16,
        }
    }

    /// Links descriptors that begin at `first`; seldom wrongly.
    fn link(&mut self, chain: &mut [Descriptor], first: u16) {
        let last = chain.len() - 1;
        for (number, descriptor) in chain.iter_mut().enumerate().take(last) {
            descriptor.flags |= NEXT;
            descriptor.next = first + number as u16 + 1;
        }
        if self.random.one_in(80) {
            let spoilt = self.random.below(chain.len() as u64) as usize;
            chain[spoilt].next = self.random.pick(&[0, first, self.layout.size, u16::MAX]);
            chain[spoilt].flags |= NEXT;
        }
    }

    /// Changes tables, headers and the available ring, when the device has seen them.
    pub fn scribble(&mut self) -> Vec<(u64, [u8; 8])> {
        let Layout { table, available, size, .. } = self.layout;
        let places = [
            (table, 16 * u64::from(size)),
            (available + 4, 2 * u64::from(size)),
            (HEADERS, 16 * CHAINS_MAX),
            (TABLES, TABLE * CHAINS_MAX),
        ];
        let mut scribbled = Vec::new();
        for _ in 0..self.random.below(20) {
            let (start, length) = self.random.pick(&places);
            let (at, word) =
                (start + self.random.below(length.div_ceil(8)) * 8, self.random.next().to_le_bytes());
            if at + 8 <= start + length {
                self.put(at, &word);
                scribbled.push((at, word));
            }
        }
        scribbled
    }
}
