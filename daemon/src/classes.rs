//! What requests' blocks are to the filesystem on the disk: learned from the image, then followed as writes arrive.

use crate::chain::{Arrived, Asked};
use crate::payload::Payload;
use blkstay_engine::class::ClassSet;
use blkstay_engine::policy::Policy;
use blkstay_engine::request::{ByteRange, Op, RequestId};
use blkstay_filesystems::Map;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Fills a buffer from an offset of the disk; says whether it could.
pub type ReadDisk = Arc<dyn Fn(u64, &mut [u8]) -> bool + Send + Sync>;

/// Tells the classes of requests as long as somebody wants to know them; nothing is done otherwise.
pub struct Classes {
    read: ReadDisk,
    bytes: u64,
    always: bool,
    following: Option<Following>,
}

impl Classes {
    /// For a disk of `bytes` bytes; `always`: also when the policy does not ask.
    pub fn new(read: ReadDisk, bytes: u64, always: bool) -> Classes {
        let mut classes = Classes { read, bytes, always, following: None };
        classes.set_policy(&Policy::none());
        classes
    }

    /// A policy was loaded: learns what is on the disk if that was not known and it asks for classes.
    ///
    /// Writes that have arrived before that may be on the media by halves. Each is looked at when it is through.
    pub fn set_policy(&mut self, policy: &Policy) {
        if !self.always && !asks(policy) {
            self.following = None;
        } else if self.following.is_none() {
            let following = Following::learn(Media::new(self.read.clone()), self.bytes);
            if !following.map.is_known() {
                tracing::warn!(
                    "no ext2, ext3 or ext4 on the image whose features are known (bigalloc is not): the class of every \
                     request is `unknown` until one is made"
                );
            }
            self.following = Some(following);
        }
    }

    /// Whether every request has to be looked at.
    pub fn is_followed(&self) -> bool {
        self.following.is_some()
    }

    /// The disk has another size: what is on it is learned anew if anybody wants to know.
    pub fn resized(&mut self, bytes: u64) {
        self.bytes = bytes;
        if self.following.is_some() {
            self.following = Some(Following::learn(Media::new(self.read.clone()), bytes));
        }
    }

    /// What the blocks of a request are that has arrived.
    pub fn arrived(&mut self, id: RequestId, request: &Arrived) -> ClassSet {
        match &mut self.following {
            Some(following) => following.arrived(id, request),
            None => ClassSet::NONE,
        }
    }

    /// A request is through; `stored`: the drive has done what it asked for.
    pub fn through(&mut self, id: RequestId, asked: Asked, stored: bool) {
        if let Some(following) = &mut self.following {
            following.through(id, asked, stored);
        }
    }
}

/// Whether a policy asks for classes.
fn asks(policy: &Policy) -> bool {
    let points = policy.points.iter().map(|point| &point.filter);
    let rules = policy.rules.iter().map(|rule| &rule.filter);
    points.chain(rules).any(|filter| filter.class.is_some())
}

/// The map of a disk, and what is written to it.
struct Following {
    map: Map,
    media: Media,
}

impl Following {
    fn learn(media: Media, bytes: u64) -> Following {
        Following { map: Map::learn(bytes, &mut |offset, into| media.read(offset, into)), media }
    }

    fn arrived(&mut self, id: RequestId, request: &Arrived) -> ClassSet {
        let Asked { op, range, .. } = request.asked;
        let data = match op {
            Op::Write => Data::Payload(request.payload()),
            Op::WriteZeroes => Data::Zeros,
            // What a discard leaves is known when it is through.
            Op::Read | Op::Discard => return self.map.read(range),
            Op::Flush | Op::GetId => return ClassSet::NONE,
        };
        let media = &self.media;
        let mut payload = |offset, into: &mut [u8]| data.read(offset, into);
        let class = self.map.write(range, &mut payload, &mut |offset, into| media.read(offset, into));
        self.media.add(id, range, data);
        class
    }

    fn through(&mut self, id: RequestId, Asked { op, range, .. }: Asked, stored: bool) {
        let changes = matches!(op, Op::Write | Op::WriteZeroes | Op::Discard);
        if changes && !(self.media.remove(id, range) && stored) {
            self.look_again(range);
        }
    }

    /// What is in a range is not what was followed.
    fn look_again(&mut self, range: ByteRange) {
        let media = &self.media;
        let mut payload = |offset, into: &mut [u8]| media.read(range.offset.saturating_add(offset), into);
        self.map.write(range, &mut payload, &mut |offset, into| media.read(offset, into));
    }
}

/// The disk as all writes that have arrived will leave it.
struct Media {
    disk: ReadDisk,
    /// Those that are not through, by where they begin.
    writes: BTreeMap<(u64, RequestId), Pending>,
    /// Length of the longest that there has been.
    longest: u64,
}

struct Pending {
    length: u64,
    data: Data,
}

enum Data {
    Payload(Payload),
    Zeros,
}

impl Data {
    fn read(&self, offset: u64, into: &mut [u8]) -> bool {
        match self {
            Data::Payload(payload) => payload.read(offset, into),
            Data::Zeros => {
                into.fill(0);
                true
            }
        }
    }
}

impl Media {
    fn new(disk: ReadDisk) -> Media {
        Media { disk, writes: BTreeMap::new(), longest: 0 }
    }

    fn add(&mut self, id: RequestId, range: ByteRange, data: Data) {
        self.longest = self.longest.max(range.length);
        self.writes.insert((range.offset, id), Pending { length: range.length, data });
    }

    /// Says whether it was there.
    fn remove(&mut self, id: RequestId, range: ByteRange) -> bool {
        self.writes.remove(&(range.offset, id)).is_some()
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> bool {
        if !(self.disk)(offset, into) {
            return false;
        }
        let end = offset.saturating_add(into.len() as u64);
        let near =
            self.writes.range((offset.saturating_sub(self.longest), RequestId(0))..(end, RequestId(0)));
        let mut over: Vec<_> = near.filter(|((start, _), write)| start + write.length > offset).collect();
        over.sort_unstable_by_key(|((_, id), _)| *id);
        over.into_iter().all(|((start, _), write)| {
            let (from, to) = (offset.max(*start), end.min(start + write.length));
            let part = &mut into[(from - offset) as usize..(to - offset) as usize];
            write.data.read(from - start, part)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::tests::payload;
    use std::os::unix::fs::FileExt;

    fn media(content: &[u8]) -> Media {
        let image = tempfile::tempfile().unwrap();
        image.write_all_at(content, 0).unwrap();
        Media::new(Arc::new(move |offset, into: &mut [u8]| image.read_exact_at(into, offset).is_ok()))
    }

    fn write(media: &mut Media, id: u64, offset: u64, data: &[u8]) {
        let range = ByteRange { offset, length: data.len() as u64 };
        media.add(RequestId(id), range, Data::Payload(payload(data, &[data.len()])));
    }

    #[test]
    fn the_media_is_what_all_writes_will_leave_in_order_of_arrival() {
        let mut media = media(b"................");
        write(&mut media, 3, 4, b"cccc");
        write(&mut media, 1, 0, b"aaaaaaaa");
        write(&mut media, 2, 6, b"bbbb");
        let read = |media: &Media, offset, length| {
            let mut bytes = vec![0; length];
            media.read(offset, &mut bytes).then(|| String::from_utf8(bytes).unwrap())
        };
        assert_eq!(read(&media, 0, 16).as_deref(), Some("aaaaccccbb......"));
        assert_eq!(read(&media, 7, 2).as_deref(), Some("cb"));
        assert_eq!(read(&media, 10, 6).as_deref(), Some("......"));
        assert_eq!(read(&media, 10, 7), None);
        assert!(media.remove(RequestId(3), ByteRange { offset: 4, length: 4 }));
        assert!(!media.remove(RequestId(3), ByteRange { offset: 4, length: 4 }));
        assert_eq!(read(&media, 0, 16).as_deref(), Some("aaaaaabbbb......"));
    }
}
