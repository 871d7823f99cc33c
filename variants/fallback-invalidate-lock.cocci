// Around what ext4_dio_write_iter() does with the rest of a write that direct I/O has left over.
@has@
@@
 ext4_dio_write_iter(...)
 {
 <+...
 filemap_invalidate_lock(...)
 ...+>
 }

@depends on !has@
expression iocb, from;
identifier err;
@@
 ext4_dio_write_iter(...)
 {
 <+...
+filemap_invalidate_lock(iocb->ki_filp->f_mapping);
 err = ext4_buffered_write_iter(iocb, from);
-if (err < 0)
+if (err < 0) {
+  filemap_invalidate_unlock(iocb->ki_filp->f_mapping);
   return err;
+}
 ...
 err = filemap_write_and_wait_range(...);
 if (!err)
   invalidate_mapping_pages(...);
+filemap_invalidate_unlock(iocb->ki_filp->f_mapping);
 ...+>
 }
