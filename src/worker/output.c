/*-------------------------------------------------------------------------
 *
 * output.c
 *	  Writing to standard output and standard error without waiting.
 *
 * Both may be pipes whose readers are slow, or stopped, so they are written
 * only when they are ready: poll() promises that PIPE_BUF bytes then go into a
 * pipe without waiting.  (They are not made non-blocking: that would change
 * them for every other process that has them, too.)
 *
 * Two cases are left in which a write may wait: a terminal that has been
 * stopped, and a command of ours that fills the pipe at that very moment.  A
 * signal ends the wait.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include "output.h"

#ifndef PIPE_BUF
#define PIPE_BUF 512			/* POSIX: at least this */
#endif

/*
 * Writes a part of the data.  Returns how much, which is 0 if nothing goes in
 * for now; or -1, and errno, if nothing will.
 */
ssize_t
eb_output_write(int fd, const char *data, size_t len)
{
	struct pollfd out = {.fd = fd,.events = POLLOUT};
	ssize_t		n;

	if (poll(&out, 1, 0) <= 0)
		return 0;
	n = write(fd, data, Min(len, PIPE_BUF));
	if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	return n;
}
