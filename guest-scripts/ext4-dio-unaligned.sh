# A direct write finishes while an unaligned one to the same file, redone through the page cache, reads the block it ends in.
#
# The file has no extents. Its blocks, of 4 KiB: 2 is a hole, 3 (place `victim`) and 4 (`tail`) are allocated.
#
#   A  writes 3, asynchronously and directly.
#   B  writes 2, 3 and 512 bytes of 4, directly. From the hole on it is redone through the page cache: 2 and 3 are
#      dirtied, then 4 is read, to keep the rest of it.
#
# Whether B may begin at all while A is in flight is what the kernel decides by B's alignment.
# Wants /dev/vda with ext4: mkfs.ext4 -b 4096 -O ^extents,^64bit, and logical sectors of 512 bytes.

. /lib/ext4-dio.sh

setup() {
    mount_with_file
}

attempt() {
    make_file && bind_places && race
}

# The last write is direct, since 3 and 4 are allocated by then: it leaves no page of them in memory.
make_file() {
    : >$FILE
    allocate 3 2 && stay write $FILE $((3 * BLOCK)) $((2 * BLOCK)) >/dev/null
}

bind_places() {
    keep_open
    bind victim 3 tail 4
}

race() {
    watch
    start_a 3 || return
    start_b 2 $((2 * BLOCK + 512)) || return
    finish
}
