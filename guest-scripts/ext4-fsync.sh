# A file is made, written and synced, on ext4 with a journal: some metadata, a transaction, some data.
#
# For policies that are about what requests are to the filesystem. Makes `mounted` happen when the filesystem is there, and
# reports what fsync said as `fsync`. Each attempt mounts anew: one whose journal was aborted is recovered by that.
# Wants /dev/vda with ext4.

FILE=/mnt/file

setup() {
    mount_fs && umount /mnt
}

# Without these the kernel zeroes inode tables and reads bitmaps some time later.
mount_fs() {
    mount -t ext4 -o noinit_itable,no_prefetch_block_bitmaps,errors=remount-ro /dev/vda /mnt
}

attempt() {
    mount_fs && rm -f $FILE.* && sync && stay emit mounted || return 1
    stay write --buffered --create --fsync --fill "$ATTEMPT" $FILE."$ATTEMPT" 0 64k >/run/wrote
    { read -r _; read -r fsync; } </run/wrote
    umount /mnt
    stay report fsync "${fsync:-none}"
}
