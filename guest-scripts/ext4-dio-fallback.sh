# A direct write finishes while another one to the same file, redone through the page cache, has dirtied that range.
#
# The file has no extents. Its blocks, of 4 KiB: 0–10 are a hole, 11 and 12 are allocated. 11 is the last that the
# inode maps itself (place `victim`), 12 the first that its indirect block maps (place `indirect`).
#
#   A  writes 11, asynchronously and directly.
#   B  writes 10–12 directly. A hole cannot be filled that way without extents, so it is redone through the page
#      cache: 10 and 11 are dirtied, then the indirect block is read to map 12. It is on the disk only.
#
# The policy holds A's completion until that read arrives, and the read's until the guest has reaped A.
# Wants /dev/vda with ext4: mkfs.ext4 -b 4096 -O ^extents,^64bit.

BLOCK=4096
FILE=/mnt/victim

setup() {
    mount_fs && : >$FILE && stay report direct-io "$(stay direct-io $FILE)"
}

# Without these the kernel zeroes inode tables and reads bitmaps some time later.
mount_fs() {
    mount -t ext4 -o noinit_itable,no_prefetch_block_bitmaps /dev/vda /mnt
}

attempt() {
    make_file && forget && bind && race
}

make_file() {
    : >$FILE
    stay write --buffered $FILE $((11 * BLOCK)) $((2 * BLOCK)) >/dev/null
}

# Nothing but the disk remembers the file after this: dropping caches would leave what the journal still holds on
# to, and what is known of the inode's mapping.
forget() {
    umount /mnt && mount_fs
}

# Finding the two places reads the inode, not the indirect block. Descriptor 3 is open before anything goes wrong.
bind() {
    exec 3<$FILE
    stay place victim $FILE $((11 * BLOCK)) $BLOCK >/dev/null &&
        stay place-map indirect $FILE $((12 * BLOCK)) >/dev/null
}

race() {
    rm -f /run/b.pid
    witness 3<&- 2>/dev/null & # without the file, which would keep the next attempt from unmounting
    stay write --name A --background --emit a-reaped --fill A $FILE $((11 * BLOCK)) $BLOCK || return 1
    # A kernel that sends A through the page cache finishes it without the disk.
    stay await --any A.done guest.a-reaped || return 1

    stay write --fsync --fill B $FILE $((10 * BLOCK)) $((3 * BLOCK)) >/run/b &
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
