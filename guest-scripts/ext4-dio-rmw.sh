# A direct write finishes while another one to the same file, redone through the page cache, reads the block it ends in.
#
# The file has no extents. Its blocks: 0 and 1 (place `head`) are allocated, 2 is a hole, 3 and 4 (`tail`) are allocated.
#
#   A  writes block $A (place `victim`), asynchronously and directly.
#   B  writes 1–3 and 512 bytes of 4, directly. 1 is written so; from the hole on it is redone through the page
#      cache: 2 and 3 are dirtied, then 4 is read, to keep the rest of it.
#
# A write that begins or ends inside a block first waits for all direct writes in flight, so A cannot be there before
# B. It gets in between: B lets go of the inode lock when 1 has been written, and A has been waiting for it. Where A wants
# that lock for itself, nothing is sure but that B lets go: whoever runs first gets it, so A is to run first.
#
# The policy holds the write of 1 until A waits, then A's completion until 4 is read, then that until A is reaped.
# Wants /dev/vda with ext4: mkfs.ext4 -b $BLOCK -O ^extents,^64bit, and logical sectors of 512 bytes.

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
    allocate 0 2 3 2 && stay write $FILE $((3 * BLOCK)) $((2 * BLOCK)) >/dev/null
}

bind_places() {
    keep_open
    bind head 1 victim "$A" tail 4
}

race() {
    watch
    start_b 1 $((3 * BLOCK + 512)) || return
    stay await H.arrived || return

    a_at "$A" --first
    # shellcheck disable=SC2086 # words
    stay $begin_a &
    a=$!
    # A sleeps directly in this function while it waits for the inode lock: the lock's own functions are not shown.
    stay blocked --until ext4_file_write_iter --while $a A then emit a-waits || return
    # shellcheck disable=SC2086 # words
    wait $a && stay $in_flight || return
    finish
}
