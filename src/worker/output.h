/*-------------------------------------------------------------------------
 *
 * output.h
 *	  Writing to standard output and standard error without waiting.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_OUTPUT_H
#define EB_OUTPUT_H

extern ssize_t eb_output_write(int fd, const char *data, size_t len);

#endif							/* EB_OUTPUT_H */
