# A direct write finishes while another one to the same file, redone through the page cache, waits for the journal.
#
# The file has no extents. Its blocks, of 4 KiB: 1 is allocated (place `head`), 2 is a hole, 3 to 7 are allocated.
#
#   A  writes block $A (place `victim`), asynchronously and directly.
#   C  truncates another file and commits that: the bitmap of free blocks is on its way to the journal.
#   B  writes up to 4, directly. A hole cannot be filled that way without extents, so from 2 on it is redone through the
#      page cache: 2–4 are dirtied, then flushed. To flush 2 it must be given a place on the disk, and the bitmap
#      cannot be changed while it is being written to the journal.
#
# The policy holds C's write to the journal until the guest has reaped A, and A's completion until the guest has seen B
# wait for the bitmap: no request tells that. (3 is there because the page after the hole is locked in that wait.) SHAPE:
#
#   plain        B writes 2–4
#   large-folio  B writes 1–4: 1 directly, and while the policy holds that, 4–7 are read ahead into the page cache, as one
#                folio where there are large ones. (Before, it would be too early: A and B each drop what the cache has
#                of their ranges when they begin.)
#   no-extents   the file has extents when A is submitted, and none when B is (fsync would not commit that)
#
# Wants /dev/vda with ext4, of blocks of 4096.

. /lib/ext4-dio.sh

OTHER=/mnt/other

# 16 inodes share a block, which C writes to the journal as well; B, which changes times in its own inode, must not
# need that block.
setup() {
    mount_with_file || return
    for i in $(seq 16); do : >"/mnt/between-$i"; done
    : >$OTHER
}

attempt() {
    make_files && bind_places && race
}

# Extents do not come back, and only a file of one extent can lose them.
make_files() {
    case $SHAPE in
        no-extents) rm -f $FILE; : >$FILE; allocate 3 5 ;;
        *) : >$FILE; allocate 1 1 3 5 ;;
    esac && stay write --buffered --fsync $OTHER 0 "$BLOCK" >/dev/null
}

bind_places() {
    keep_open
    bind victim "$A" && { [ "$SHAPE" != large-folio ] || bind head 1; }
}

race() {
    watch
    start_a "$A" || return
    [ "$SHAPE" != no-extents ] || { stay remove-extents $FILE && sync; } || return
    commit || return
    if [ "$SHAPE" = large-folio ]; then
        start_b 1 $((4 * BLOCK)) && stay await H.arrived && read_ahead && stay emit read-ahead || return
    else
        start_b 2 $((3 * BLOCK)) || return
    fi
    # Until B waits for the journal.
    stay blocked --until do_get_write_access --while $b $b then emit b-waits || return
    finish
}

# Begins C. What A has changed in its inode is committed before: C is not to hold that. (If A went through the page cache, that would
# write it to the disk, where the policy would hold it, and this script.)
commit() {
    case $pages in
        *" dirty 0 writeback 0 "* | unknown) stay fsync $FILE then emit c-begins >/dev/null ;;
        *) stay emit c-begins ;;
    esac || return
    : >$OTHER
    stay fsync $OTHER >/dev/null &
    stay await C.arrived
}

# To read 0 and then 1 is to read in sequence: the kernel reads four pages ahead at the first, and at the second those
# that follow, in folios of four.
read_ahead() {
    { dd bs=$BLOCK count=1 && dd bs=$BLOCK count=1; } <$FILE >/dev/null 2>&1
}
