// ext4_dio_write_checks() chooses the lock: under one condition a shared lock is given up, under the
// other the direct write is told to wait.
@has@
@@
 ext4_dio_write_checks(...)
 {
 <+...
 ext4_test_inode_flag(...)
 ...+>
 }

@depends on !has@
identifier node, ilock_shared;
expression exclusive, waits;
statement upgrade, wait;
@@
 ext4_dio_write_checks(...)
 {
 ...
 struct inode *node = ...;
 ...
 if (*ilock_shared &&
-    exclusive
+    (exclusive || !ext4_test_inode_flag(node, EXT4_INODE_EXTENTS))
    )
   upgrade
 ...
 if (!*ilock_shared &&
-    waits
+    (waits || !ext4_test_inode_flag(node, EXT4_INODE_EXTENTS))
    )
   wait
 ...
 }
