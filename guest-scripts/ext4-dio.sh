# What the scripts of races between direct writes to a file of ext4 share: `. /lib/ext4-dio.sh`.
#
# A is written asynchronously and directly. B is written directly, too, from a hole on, so that it is redone through the
# page cache if the file has no extents. From the policy: BLOCK, bytes in a block; SUBMIT, `background` or `async` (the
# script goes on when A's submission has returned). Ranges are given as first block and bytes. A process costs some 10 ms
# under emulation, so `then` makes one of several.

FILE=/mnt/victim

# Without these options the kernel zeroes inode tables and reads bitmaps some time later.
mount_fs() {
    mount -t ext4 -o noinit_itable,no_prefetch_block_bitmaps /dev/vda /mnt
}

mount_with_file() {
    mount_fs && : >$FILE && stay report direct-io "$(stay direct-io $FILE)"
}

# allocate FIRST BLOCKS …: gives blocks a place on the disk, one piece after the other.
allocate() {
    words=
    while [ $# -gt 0 ]; do
        words="$words then write --buffered --fsync $FILE $(($1 * BLOCK)) $(($2 * BLOCK))"
        shift 2
    done
    # shellcheck disable=SC2086 # words
    stay ${words# then } >/dev/null
}

# keep_open: descriptor 3 is open before anything goes wrong.
keep_open() {
    exec 3<$FILE
}

# bind PLACE BLOCK…
bind() {
    words=
    while [ $# -gt 0 ]; do
        words="$words then place $1 $FILE $(($2 * BLOCK)) $BLOCK"
        shift 2
    done
    # shellcheck disable=SC2086 # words
    stay ${words# then } >/dev/null
}

# watch: lets the witness wait, without the file, which would keep the next attempt from unmounting.
watch() {
    : >/run/b.pid
    witness 3<&- 2>/dev/null &
}

# Says where B sleeps when something has stood for long, or A if its submission keeps the script from beginning B: what
# a verdict of "closed" rests on. A guest that is merely slow gets there in the end. Where nothing stands, the attempt's
# end ends the waiting.
witness() {
    stay await attempt.stalled || return
    until read -r pid </run/b.pid; do
        at=$(stay blocked A) || at="none: it is through"
        case $at in
            *io_submit* | none*) stay report stuck "A $at" && return ;;
        esac
    done
    while at=$(stay blocked "$pid"); do
        # What it writes directly, before its hole, is on its way: the guest is slow.
        case $at in *__iomap_dio_rw*) ;; D*) break ;; esac
    done
    stay report stuck "B ${at:-none: it is through}"
}

# start_a BLOCK: returns when A is in flight, with what the page cache has of it in pages.
start_a() {
    a_at "$1"
    # shellcheck disable=SC2086 # words
    pages=$(stay $begin_a then $in_flight then cached $at)
}

# a_at BLOCK [OPTION]: sets what `stay` is told to begin A, and to wait until it is in flight. A kernel that sends it through the
# page cache finishes it without the disk, and what the page cache has of it then tells so.
a_at() {
    at="$FILE $(($1 * BLOCK)) $BLOCK"
    begin_a="emit a-begins then write --name A --$SUBMIT $2 --emit a-reaped --fill A $at"
    in_flight="await --any A.done guest.a-reaped then report-as A-pages cached $at"
}

# start_b BLOCK BYTES: sets b, its process.
start_b() {
    stay emit b-begins then write --fsync --emit b-ends --fill B $FILE $(($1 * BLOCK)) "$2" >/run/b &
    b=$!
    echo $b >/run/b.pid
}

# The end of both, and what the file says about errors.
finish() {
    wait $b
    { read -r b_write; read -r b_fsync; } </run/b
    stay report-as a-write reap A \
        then report b-write "$b_write" fsync-b "$b_fsync" \
        then report-as fsync-earlier fsync --fd 3
}
