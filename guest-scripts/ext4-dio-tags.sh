# A direct write finishes while another one to the same file, redone through the page cache, cannot flush its pages.
#
# The file has no extents. Its blocks, of 4 KiB: 0 is a hole, 1–11 are allocated in one piece (place `ahead`), 12 to
# 16 (`victim`) in another.
#
#   A  writes 16, asynchronously and directly.
#   B  writes 0–16 directly. A hole cannot be filled that way without extents, so it is redone through the page
#      cache: 0–16 are dirtied, then flushed in this order.
#
# The disk takes 4 requests at a time, and each writes one page. A is one of them. The policy holds the others of 1–11
# that come, until the guest has reaped A: B stands in the middle of them, with 12 about to be written and 16 dirty.
# (12 is locked then, since a page is taken for writing before the request of those ahead of it is sent, and A's completion waits
# for the lock of its page. Where there are large folios, 12 may be locked with those after it, but not with 16.)
#
# With SHAPE=no-extents the file has extents when A is submitted, and none when B is. Only a file of one extent within
# the first twelve blocks can lose them, so it is two blocks shorter: 1–9 are `ahead`, A writes 11, and B ends there.
# Wants /dev/vda with a ring of 4 and ext4: mkfs.ext4 -b 4096 -O ^extents,^64bit, or with that shape -O ^64bit.

. /lib/ext4-dio.sh

QUEUE=/sys/block/vda/queue

setup() {
    mount_with_file && a_page_a_request
}

# The kernel's own throttle of writes, where there is one, would stop B before the ring is full, or not. THROTTLE=on
# leaves it: B may then sleep for a reason that is nobody's fix.
a_page_a_request() {
    echo $((BLOCK / 1024)) >$QUEUE/max_sectors_kb || return
    [ "$THROTTLE" = on ] || [ ! -e $QUEUE/wbt_lat_usec ] || echo 0 >$QUEUE/wbt_lat_usec
}

attempt() {
    make_file && bind_places && race
}

# The end is written first, so that it does not follow the rest on the disk.
make_file() {
    last=16
    ahead=11
    [ "$SHAPE" != no-extents ] || { last=11 && ahead=9; }
    rm -f $FILE
    : >$FILE
    case $SHAPE in
        no-extents) allocate 1 11 ;;
        *) allocate 12 5 1 11 ;;
    esac
}

bind_places() {
    keep_open
    stay place ahead $FILE "$BLOCK" $((ahead * BLOCK)) >/dev/null && bind victim $last
}

race() {
    watch
    start_a $last || return
    [ "$SHAPE" != no-extents ] || { stay remove-extents $FILE && sync; } || return
    start_b 0 $(((last + 1) * BLOCK)) || return
    finish
}
