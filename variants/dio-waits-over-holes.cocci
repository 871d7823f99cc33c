// Told to wait for its own completion is, beside what was before, a direct write that covers a hole of a file without
// extents: what may be redone through the page cache. The lock it takes is exclusive already.
@has@
@@
 ext4_dio_write_checks(...)
 {
 <+...
 ext4_test_inode_flag(...)
 ...+>
 }

@decides depends on !has@
identifier node, overwrite, offset, count;
expression unwritten;
@@
 ext4_dio_write_checks(...)
 {
 <+...
 overwrite = ext4_overwrite_io(node, offset, count, unwritten);
 ...+>
 }

@depends on decides@
identifier decides.node, decides.overwrite;
identifier unaligned, ilock_shared, extend;
@@
 ext4_dio_write_checks(...)
 {
 <+...
-!*ilock_shared && (unaligned || *extend)
+!*ilock_shared && (unaligned || *extend || (!overwrite && !ext4_test_inode_flag(node, EXT4_INODE_EXTENTS)))
 ...+>
 }
