// What needs no zeroing may still have to be allocated: that, too, gives up the shared lock here.
@has@
@@
 ext4_dio_write_checks(...)
 {
 <+...
 ext4_dio_only_overwrites(...)
 ...+>
 }

@decided depends on !has@
expression node, offset, count;
identifier zeroing;
@@
 ext4_dio_write_checks(...)
 {
 <+...
-zeroing = ext4_dio_needs_zeroing(node, offset, count);
+zeroing = ext4_dio_needs_zeroing(node, offset, count) || !ext4_dio_only_overwrites(node, offset, count);
 ...+>
 }

@depends on decided@
typedef bool, loff_t;
type T;
@@
+/* Do all of these blocks hold data already? */
+static bool ext4_dio_only_overwrites(struct inode *inode, loff_t pos, loff_t len)
+{
+	struct ext4_map_blocks map = {
+		.m_lblk = pos >> inode->i_blkbits,
+		.m_len = EXT4_MAX_BLOCKS(len, pos, inode->i_blkbits),
+	};
+	int wanted = map.m_len;
+
+	return ext4_map_blocks(NULL, inode, &map, 0) == wanted && (map.m_flags & EXT4_MAP_MAPPED);
+}
+
 T ext4_dio_write_checks(...) { ... }
