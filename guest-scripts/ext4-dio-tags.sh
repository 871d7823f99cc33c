# A direct write finishes while another one to the same file, redone through the page cache, cannot flush its pages.
#
# The file has no extents. Its blocks, of 4 KiB: 0 is a hole, 1–11 are allocated in one piece (place `ahead`), 12 and
# 13 (`victim`) in another.
#
#   A  writes 13, asynchronously and directly.
#   B  writes 0–13 directly. A hole cannot be filled that way without extents, so it is redone through the page
#      cache: 0–13 are dirtied, then flushed in this order.
#
# The disk takes 4 requests at a time, and each writes one page. A is one of them. The policy holds the others of 1–11
# that come, until the guest has reaped A: B stands in the middle of them, with 12 about to be written and 13 dirty.
# (12 is there for that: a page is taken for writing before the request of those ahead of it is sent.)
# Wants /dev/vda with a ring of 4 and ext4: mkfs.ext4 -b 4096 -O ^extents,^64bit.

BLOCK=4096
FILE=/mnt/victim
QUEUE=/sys/block/vda/queue

# Without these mount options the kernel zeroes inode tables and reads bitmaps some time later.
setup() {
    mount -t ext4 -o noinit_itable,no_prefetch_block_bitmaps /dev/vda /mnt && a_page_a_request &&
        : >$FILE && stay report direct-io "$(stay direct-io $FILE)"
}

# The kernel's own throttle of writes, where there is one, would stop B before the ring is full, or not.
a_page_a_request() {
    echo $((BLOCK / 1024)) >$QUEUE/max_sectors_kb || return
    [ ! -e $QUEUE/wbt_lat_usec ] || echo 0 >$QUEUE/wbt_lat_usec
}

attempt() {
    make_file && bind && race
}

# The end is written first, so that it does not follow the rest on the disk.
make_file() {
    : >$FILE
    stay write --buffered --fsync $FILE $((12 * BLOCK)) $((2 * BLOCK)) >/dev/null &&
        stay write --buffered --fsync $FILE $((1 * BLOCK)) $((11 * BLOCK)) >/dev/null
}

# Descriptor 3 is open before anything goes wrong.
bind() {
    exec 3<$FILE
    stay place ahead $FILE $((1 * BLOCK)) $((11 * BLOCK)) >/dev/null &&
        stay place victim $FILE $((13 * BLOCK)) $BLOCK >/dev/null
}

race() {
    rm -f /run/b.pid
    witness 2>/dev/null &
    stay write --name A --background --emit a-reaped --fill A $FILE $((13 * BLOCK)) $BLOCK || return 1
    # A kernel that sends A through the page cache finishes it without the disk.
    stay await --any A.done guest.a-reaped || return 1

    stay write --fsync --fill B $FILE 0 $((14 * BLOCK)) >/run/b &
    b=$!
    echo $b >/run/b.pid
    a_write=$(stay reap A)
    wait $b
    { read -r b_write; read -r b_fsync; } </run/b
    stay report a-write "$a_write" b-write "$b_write" fsync-b "$b_fsync" fsync-earlier "$(stay fsync --fd 3)"
}

# Says where B stands when a hold has stood for long: what a verdict of "closed" rests on. Where none does, the
# attempt's end ends the waiting.
witness() {
    stay await attempt.stalled || return
    read -r pid </run/b.pid || pid=none
    stay report stuck "$(stay blocked "$pid" || echo none: B has not begun, or is through)"
}
