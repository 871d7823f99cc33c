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

setup() {
    mount_fs && : >/mnt/victim && stay report direct-io "$(stay direct-io /mnt/victim)"
}

attempt() {
    file=/mnt/victim
    rm -f "$file"
    stay write --create --buffered "$file" $((11 * BLOCK)) $((2 * BLOCK)) >/dev/null || return 1
    sync
    stay place victim "$file" $((11 * BLOCK)) $BLOCK >/dev/null || return 1
    stay place-map indirect "$file" $((12 * BLOCK)) >/dev/null || return 1
    umount /mnt && mount_fs || return 1
    exec 3<"$file"
    race
}

mount_fs() {
    mount -t ext4 -o noinit_itable,no_prefetch_block_bitmaps /dev/vda /mnt
}

race() {
    stay write --name A --background --emit a-reaped --fill A "$file" $((11 * BLOCK)) $BLOCK || return 1
    # A kernel that sends A through the page cache finishes it without the disk.
    stay await --any A.done guest.a-reaped || return 1

    stay write --fsync --fill B "$file" $((10 * BLOCK)) $((3 * BLOCK)) >/run/b &
    a=$(stay reap A)
    wait $!
    { read -r b_write; read -r b_fsync; } </run/b
    stay report a-write "$a" b-write "$b_write" fsync-b "$b_fsync" fsync-earlier "$(stay fsync --fd 3)"
}
