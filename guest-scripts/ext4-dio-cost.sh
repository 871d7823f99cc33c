# What direct writes to files of ext4 cost: alone and in parallel, extending, over data and into holes.
#
# Each phase works on a file of its own, made before, and ends when that is flushed. An event begins it: `extend`,
# `overwrite`, `fill` (64 writes of a block, one after the other), the same with `-4` (four writers of 16 each), and
# `mixed` (one fills holes while another overwrites, eight writes in flight). Pages that were dirtied in the page cache are
# reported as PHASE-dirtied. Wants /dev/vda with ext4 of blocks of 4096.

BLOCK=4096
WRITES=64
DIR=/mnt/cost

setup() {
    mount -t ext4 -o noinit_itable,no_prefetch_block_bitmaps /dev/vda /mnt
}

attempt() {
    problems=
    dirtied=
    rm -rf $DIR
    mkdir $DIR && make_files && sync || return
    phase extend alone $BLOCK
    phase overwrite alone $BLOCK
    phase fill alone $((2 * BLOCK))
    phase extend-4 four $BLOCK
    phase overwrite-4 four $BLOCK
    phase fill-4 four $((2 * BLOCK))
    phase mixed fill_beside_overwrites
    # shellcheck disable=SC2086 # pairs of words
    stay emit end && stay report io "${problems:-ok}" $dirtied
}

# Every second block of a file to fill is a hole, the last one is not.
make_files() {
    for file in extend extend-4; do : >$DIR/$file || return; done
    for file in overwrite overwrite-4; do
        stay write --buffered --create $DIR/$file 0 $((WRITES * BLOCK)) >/dev/null || return
    done
    for file in fill fill-4; do
        stay load --buffered --create --times $WRITES --step $((2 * BLOCK)) $DIR/$file $BLOCK $BLOCK >/dev/null || return
    done
    stay load --buffered --create --times 16 --step $((2 * BLOCK)) $DIR/mixed $BLOCK $BLOCK >/dev/null &&
        stay write --buffered $DIR/mixed $((32 * BLOCK)) $((WRITES * BLOCK)) >/dev/null
}

# phase NAME COMMAND…: with the file's name after the command's.
phase() {
    name=$1
    command=$2
    shift 2
    before=$(pages_dirtied)
    stay emit "$name"
    $command $DIR/"$name" "$@" || problems="$problems $name"
    [ "$(stay fsync $DIR/"$name")" = ok ] || problems="$problems fsync-of-$name"
    dirtied="$dirtied $name-dirtied $(($(pages_dirtied) - before))"
}

# What each processor has counted is added up first.
pages_dirtied() {
    echo 1 >/proc/sys/vm/stat_refresh
    awk '$1 == "nr_dirtied" { print $2 }' /proc/vmstat
}

# alone FILE STEP
alone() {
    stay load --times $WRITES --step "$2" "$1" 0 $BLOCK >/dev/null
}

# four FILE STEP: each writer begins a step further on, and skips what the others write.
four() {
    writers=
    for writer in 0 1 2 3; do
        stay load --times $((WRITES / 4)) --step $((4 * $2)) "$1" $((writer * $2)) $BLOCK >/dev/null &
        writers="$writers $!"
    done
    wait_for "$writers"
}

fill_beside_overwrites() {
    stay load --times $WRITES --depth 8 "$1" $((32 * BLOCK)) $BLOCK >/dev/null &
    overwrites=$!
    stay load --times 16 --step $((2 * BLOCK)) "$1" 0 $BLOCK >/dev/null &
    wait_for "$overwrites $!"
}

wait_for() {
    status=0
    for process in $1; do wait "$process" || status=1; done
    return $status
}
