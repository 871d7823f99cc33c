// An unaligned direct write gives up the shared lock, and waits for others in flight, only where a block
// that it covers in part has to be zeroed around it: a hole or an unwritten block at its head or tail.
//
// Each rule builds on the one before; none applies where ext4 decides like this already.
@has@
identifier zeroes =~ "^ext4_dio_(needs_zeroing|zeroes_part)$";
@@
 ext4_dio_write_checks(...)
 {
 <+...
 zeroes(...)
 ...+>
 }

@decided depends on !has@
identifier unaligned, overwrite, unwritten, node, offset, count, iter;
@@
 ext4_dio_write_checks(...)
 {
+bool zeroes;
 ...
 unaligned = ext4_unaligned_io(node, iter, offset);
 ...
(
 overwrite = ext4_overwrite_io(node, offset, count, unwritten);
+zeroes = unaligned && ext4_dio_zeroes_part(node, offset, count);
+/* A shared lock must not mean that no block has to be allocated. */
+if (!overwrite)
+  *unwritten = true;
|
 overwrite = ext4_overwrite_io(node, offset, count, &unwritten);
+zeroes = unaligned && ext4_dio_zeroes_part(node, offset, count);
)
 ...
 }

@depends on decided@
identifier decided.unaligned, decided.overwrite;
expression keeps, unwritten;
@@
 ext4_dio_write_checks(...)
 {
 <+...
-keeps || !overwrite || (unaligned && unwritten)
+keeps || (unaligned ? zeroes : !overwrite)
 ...+>
 }

@depends on decided@
identifier decided.unaligned;
expression extends;
@@
 ext4_dio_write_checks(...)
 {
 <+...
-(unaligned || extends)
+(zeroes || extends)
 ...+>
 }

@depends on decided@
identifier decided.unaligned, decided.overwrite;
expression unwritten;
@@
 ext4_dio_write_checks(...)
 {
 <+...
-unaligned && (!overwrite || unwritten)
+zeroes
 ...+>
 }

@depends on decided@
typedef bool, loff_t;
type T;
@@
+static bool ext4_block_holds_no_data(struct inode *inode, loff_t pos)
+{
+	struct ext4_map_blocks map = {
+		.m_lblk = pos >> inode->i_blkbits,
+		.m_len = 1,
+	};
+
+	return ext4_map_blocks(NULL, inode, &map, 0) <= 0 ||
+	       !(map.m_flags & EXT4_MAP_MAPPED);
+}
+
+/* Does the direct write cover a block in part that holds no data yet? */
+static bool ext4_dio_zeroes_part(struct inode *inode, loff_t pos, loff_t len)
+{
+	loff_t end = pos + len;
+
+	if (end > i_size_read(inode))
+		return true;
+	return ((pos & (i_blocksize(inode) - 1)) && ext4_block_holds_no_data(inode, pos)) ||
+	       ((end & (i_blocksize(inode) - 1)) && ext4_block_holds_no_data(inode, end));
+}
+
 T ext4_dio_write_checks(...) { ... }
