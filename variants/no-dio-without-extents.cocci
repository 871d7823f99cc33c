// Comes after the checks for files that cannot have direct I/O for other reasons.
@@
identifier inode;
@@
 ext4_dio_alignment(struct inode *inode)
 {
 ... when != ext4_test_inode_flag(inode, EXT4_INODE_EXTENTS)
 if (ext4_has_inline_data(inode))
   return 0;
+if (!ext4_test_inode_flag(inode, EXT4_INODE_EXTENTS))
+  return 0;
 ... when != ext4_test_inode_flag(inode, EXT4_INODE_EXTENTS)
 }
