/*-------------------------------------------------------------------------
 *
 * loop.c
 *	  The event loop: file descriptors, timers, signals.
 *
 * The program has one thread and one loop; all waiting is done in
 * run_once().  Everything else registers what it waits for and is called
 * back.  Handlers never block, and bear being called for nothing.
 *
 * A signal handler may do next to nothing, so it only counts the signal and
 * writes a byte into a pipe that the loop watches; what the program wants to
 * do about the signal is then done in the loop like anything else.  What came
 * and what has been dealt with are counted apart, each by one side only.
 * System calls are not restarted after a signal: should one block after all,
 * the signal that is to end the program gets it out of there.
 *
 * A handler may register and forget anything, its own descriptor included,
 * while the loop goes through what poll() reported.  Each registration has a
 * serial number, so that an event of a descriptor that was closed and
 * opened anew meanwhile is not given to the new owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "loop.h"
#include "worker.h"

/* One watched descriptor; the table is indexed by descriptor. */
typedef struct Watch
{
	short		events;			/* 0: not watched */
	uint64		serial;
	EbFdHandler handler;
	void	   *arg;
} Watch;

static Watch *watches = NULL;
static int	nwatches = 0;
static uint64 last_serial = 0;

/* What the running poll() was asked; as long as the table of watches. */
static struct pollfd *polled = NULL;
static uint64 *polled_serials = NULL;

static EbTimer *timers = NULL;	/* armed ones, the next due first */

#define MAX_SIGNAL 64
static EbSignalHandler signal_handlers[MAX_SIGNAL + 1];
static volatile sig_atomic_t signals_came[MAX_SIGNAL + 1];
static sig_atomic_t signals_done[MAX_SIGNAL + 1];
static int	signal_pipe[2] = {-1, -1};

/* Counts a signal and wakes the loop. */
static void
note_signal(int signo)
{
	int			save_errno = errno;

	/* unsigned, so that it may wrap around */
	signals_came[signo] = (unsigned int) signals_came[signo] + 1;

	/* If the pipe is full, the loop will wake up anyway. */
	if (write(signal_pipe[1], "", 1) < 0)
		errno = 0;
	errno = save_errno;
}

/* Calls the handlers of the signals that came. */
static void
dispatch_signals(int fd, short revents, void *arg)
{
	char		bytes[64];

	while (read(fd, bytes, sizeof(bytes)) > 0)
		 /* drain it */ ;

	for (int signo = 1; signo <= MAX_SIGNAL; signo++)
	{
		while (signals_done[signo] != signals_came[signo])
		{
			signals_done[signo] = (unsigned int) signals_done[signo] + 1;
			signal_handlers[signo] (signo);
		}
	}
}

/*
 * Prepares the loop; to be called once, before anything else here.  Has it call
 * stop() for SIGTERM and SIGINT.
 */
void
eb_loop_init(EbSignalHandler stop)
{
	if (pipe(signal_pipe) != 0)
	{
		eb_log_error("could not create a pipe: %m");
		exit(EB_EXIT_USAGE);
	}
	for (int i = 0; i < 2; i++)
	{
		fcntl(signal_pipe[i], F_SETFD, FD_CLOEXEC);
		fcntl(signal_pipe[i], F_SETFL, O_NONBLOCK);
	}
	eb_loop_watch(signal_pipe[0], POLLIN, dispatch_signals, NULL);
	eb_loop_signal(SIGTERM, stop);
	eb_loop_signal(SIGINT, stop);
	signal(SIGPIPE, SIG_IGN);
}

/* Milliseconds since some moment in the past, never going back. */
int64
eb_loop_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/*
 * Calls the handler whenever the descriptor is ready for one of the events
 * (as for poll()).  Replaces what was registered for the descriptor before;
 * no events means to forget it.
 */
void
eb_loop_watch(int fd, short events, EbFdHandler handler, void *arg)
{
	if (events == 0)
	{
		eb_loop_forget(fd);
		return;
	}
	if (fd >= nwatches)
	{
		int			grown = Max(fd + 1, nwatches * 2 + 16);

		watches = pg_realloc(watches, grown * sizeof(Watch));
		memset(watches + nwatches, 0, (grown - nwatches) * sizeof(Watch));
		polled = pg_realloc(polled, grown * sizeof(struct pollfd));
		polled_serials = pg_realloc(polled_serials, grown * sizeof(uint64));
		nwatches = grown;
	}
	watches[fd].events = events;
	watches[fd].serial = ++last_serial;
	watches[fd].handler = handler;
	watches[fd].arg = arg;
}

/* Watches a descriptor no longer; call it before closing the descriptor. */
void
eb_loop_forget(int fd)
{
	if (fd >= 0 && fd < nwatches)
		watches[fd].events = 0;
}

/* Has the loop call the handler once for each such signal that arrives. */
void
eb_loop_signal(int signo, EbSignalHandler handler)
{
	struct sigaction action;

	Assert(signo > 0 && signo <= MAX_SIGNAL);
	signal_handlers[signo] = handler;
	memset(&action, 0, sizeof(action));
	action.sa_handler = note_signal;
	sigemptyset(&action.sa_mask);
	sigaction(signo, &action, NULL);
}

/*
 * Has the loop call the handler once, after a delay.  A timer that is armed
 * already is set anew.
 */
void
eb_timer_set(EbTimer *timer, int64 delay_ms, EbTimerHandler handler, void *arg)
{
	EbTimer   **link = &timers;

	eb_timer_clear(timer);
	timer->due = eb_loop_now() + Max(delay_ms, 0);
	timer->handler = handler;
	timer->arg = arg;
	timer->armed = true;
	while (*link && (*link)->due <= timer->due)
		link = &(*link)->next;
	timer->next = *link;
	*link = timer;
}

/* Takes a timer back; one that is not armed may be given. */
void
eb_timer_clear(EbTimer *timer)
{
	if (!timer->armed)
		return;
	for (EbTimer **link = &timers; *link; link = &(*link)->next)
	{
		if (*link == timer)
		{
			*link = timer->next;
			break;
		}
	}
	timer->armed = false;
}

/* Fires the timers that are due, those set meanwhile excepted. */
static void
fire_timers(void)
{
	int64		now = eb_loop_now();

	while (timers && timers->due <= now)
	{
		EbTimer    *timer = timers;

		timers = timer->next;
		timer->armed = false;
		timer->handler(timer->arg);

		/* A timer of delay 0 set by the handler waits for the next round. */
		if (timers && timers->due >= now)
			break;
	}
}

/*
 * Waits until something happens, and calls the handlers of all that
 * happened.
 */
static void
run_once(void)
{
	int			npolled = 0;
	int			timeout = -1;
	int			ready;

	for (int fd = 0; fd < nwatches; fd++)
	{
		if (watches[fd].events == 0)
			continue;
		polled[npolled].fd = fd;
		polled[npolled].events = watches[fd].events;
		polled[npolled].revents = 0;
		polled_serials[npolled] = watches[fd].serial;
		npolled++;
	}
	if (timers)
	{
		int64		left = timers->due - eb_loop_now();

		timeout = (int) Min(Max(left, 0), 3600 * 1000);
	}

	ready = poll(polled, npolled, timeout);
	if (ready < 0 && errno != EINTR && errno != EAGAIN)
	{
		eb_log_error("could not wait for events: %m");
		exit(EB_EXIT_USAGE);
	}
	for (int i = 0; ready > 0 && i < npolled; i++)
	{
		/* The tables may move when a handler registers something. */
		struct pollfd event = polled[i];
		Watch	   *watch = &watches[event.fd];

		if (event.revents != 0 && watch->events != 0 &&
			watch->serial == polled_serials[i])
			watch->handler(event.fd, event.revents, watch->arg);
	}
	fire_timers();
}

/* Goes on until it is finished. */
void
eb_loop_run(const bool *finished)
{
	while (!*finished)
		run_once();
}
