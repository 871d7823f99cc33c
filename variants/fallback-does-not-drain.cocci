// A buffered write no longer waits for direct I/O in flight.
@@
identifier inode;
@@
 ext4_buffered_write_iter(...)
 {
 ...
 inode_lock(inode);
-inode_dio_wait(inode);
 ...
 }
