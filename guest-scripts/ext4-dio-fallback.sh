# A direct write finishes while another one to the same file, redone through the page cache, has dirtied that page.
#
# The file has no extents. Its blocks: 0 to 10 are a hole, but for A's; 11 and 12 are allocated. 11 is the last that the
# inode maps itself, 12 the first that its indirect block maps (place `indirect`).
#
#   A  writes block $A (place `victim`), asynchronously and directly.
#   B  writes 10 to 12 directly. A hole cannot be filled that way without extents, so it is redone through the page
#      cache: 10 and 11 are dirtied, then the indirect block is read to map 12. It is on the disk only.
#
# The policy holds A's completion until that read arrives, and the read's until the guest has reaped A.
# Wants /dev/vda with ext4: mkfs.ext4 -b $BLOCK -O ^extents,^64bit.

. /lib/ext4-dio.sh

setup() {
    mount_with_file
}

attempt() {
    make_file && forget && bind_places && race
}

make_file() {
    : >$FILE
    allocate 11 2 && { [ "$A" -ge 11 ] || allocate "$A" 1; }
}

# Nothing but the disk remembers the file after this: dropping caches would leave what the journal still holds on
# to, and what is known of the inode's mapping.
forget() {
    umount /mnt && mount_fs
}

# Finding the two places reads the inode, not the indirect block.
bind_places() {
    keep_open
    stay place victim $FILE $((A * BLOCK)) "$BLOCK" then place-map indirect $FILE $((12 * BLOCK)) >/dev/null
}

race() {
    watch
    start_a "$A" || return
    start_b 10 $((3 * BLOCK)) || return
    finish
}
