# A direct write finishes while another one to the same file, redone through the page cache, reads the block it ends in.
#
# The file has no extents. Its blocks, of 4 KiB: 1 is allocated (place `head`), 2 is a hole, 3 (`victim`) and 4
# (`tail`) are allocated.
#
#   A  writes 3, asynchronously and directly.
#   B  writes 1–3 and 512 bytes of 4, directly. 1 is written so; from the hole on it is redone through the page
#      cache: 2 and 3 are dirtied, then 4 is read, to keep the rest of it.
#
# A write that begins or ends inside a block first waits for all direct writes in flight, so A cannot be there before
# B. It gets in between: B lets go of the inode lock when 1 has been written, and A has been waiting for it.
#
# The policy holds the write of 1 until A waits, then A's completion until 4 is read, then that until A is reaped.
# Wants /dev/vda with ext4: mkfs.ext4 -b 4096 -O ^extents,^64bit, and logical sectors of 512 bytes.

BLOCK=4096
FILE=/mnt/victim

# Without these options the kernel zeroes inode tables and reads bitmaps some time later.
setup() {
    mount -t ext4 -o noinit_itable,no_prefetch_block_bitmaps /dev/vda /mnt &&
        : >$FILE && stay report direct-io "$(stay direct-io $FILE)"
}

attempt() {
    make_file && bind && race
}

# The last write is direct, since 3 and 4 are allocated by then: it leaves no page of them in memory.
make_file() {
    : >$FILE
    stay write --buffered $FILE $((1 * BLOCK)) $BLOCK >/dev/null &&
        stay write --buffered --fsync $FILE $((3 * BLOCK)) $((2 * BLOCK)) >/dev/null &&
        stay write $FILE $((3 * BLOCK)) $((2 * BLOCK)) >/dev/null
}

# Descriptor 3 is open before anything goes wrong.
bind() {
    exec 3<$FILE
    stay place head $FILE $((1 * BLOCK)) $BLOCK >/dev/null &&
        stay place victim $FILE $((3 * BLOCK)) $BLOCK >/dev/null &&
        stay place tail $FILE $((4 * BLOCK)) $BLOCK >/dev/null
}

race() {
    rm -f /run/b.pid
    witness 2>/dev/null &
    stay write --fsync --fill B $FILE $((1 * BLOCK)) $((3 * BLOCK + 512)) >/run/b &
    b=$!
    echo $b >/run/b.pid
    stay await H.arrived || return 1

    stay write --name A --async --emit a-reaped --fill A $FILE $((3 * BLOCK)) $BLOCK &
    a=$!
    until_child_waits_for_lock $a
    stay emit a-waits || return 1
    wait $a
    a_write=$(stay reap A)
    wait $b
    { read -r b_write; read -r b_fsync; } </run/b
    stay report a-write "$a_write" b-write "$b_write" fsync-b "$b_fsync" fsync-earlier "$(stay fsync --fd 3)"
}

# A is a child of process $1, which ends when A has been submitted. A sleeps directly in ext4_file_write_iter while it
# waits for the inode lock: the lock's own functions are not shown.
until_child_waits_for_lock() {
    while kill -0 "$1" 2>/dev/null; do
        # shellcheck disable=SC2046 # a number and a space, or nothing
        case $(stay blocked $(cat "/proc/$1/task/$1/children") 2>/dev/null) in
            "D ext4_file_write_iter"*) return ;;
        esac
    done
}

# Says where B stands when a hold has stood for long: what a verdict of "closed" rests on. Where none does, the
# attempt's end ends the waiting.
witness() {
    stay await attempt.stalled || return
    read -r pid </run/b.pid || pid=none
    stay report stuck "$(stay blocked "$pid" || echo none: B has not begun, or is through)"
}
