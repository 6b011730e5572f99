/*-------------------------------------------------------------------------
 *
 * loop.h
 *	  The event loop: file descriptors, timers, signals.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_LOOP_H
#define EB_LOOP_H

typedef void (*EbFdHandler) (int fd, short revents, void *arg);
typedef void (*EbTimerHandler) (void *arg);
typedef void (*EbSignalHandler) (int signo);

/* Lives inside its owner; zero it before the first use. */
typedef struct EbTimer
{
	int64		due;			/* in milliseconds of eb_loop_now() */
	EbTimerHandler handler;
	void	   *arg;
	struct EbTimer *next;		/* by due */
	bool		armed;
} EbTimer;

extern void eb_loop_init(EbSignalHandler stop);
extern void eb_loop_run(const bool *finished);
extern int64 eb_loop_now(void);
extern void eb_loop_watch(int fd, short events, EbFdHandler handler, void *arg);
extern void eb_loop_forget(int fd);
extern void eb_loop_signal(int signo, EbSignalHandler handler);

extern void eb_timer_set(EbTimer *timer, int64 delay_ms,
						 EbTimerHandler handler, void *arg);
extern void eb_timer_clear(EbTimer *timer);

#endif							/* EB_LOOP_H */
