// A buffered write waits until no direct I/O to its inode is in flight. It has the inode lock, so none
// begins until it is done.
@@
identifier inode;
@@
 ext4_buffered_write_iter(...)
 {
 ... when != inode_dio_wait(inode)
 inode_lock(inode);
+inode_dio_wait(inode);
 ... when != inode_dio_wait(inode)
 }
