/*-------------------------------------------------------------------------
 *
 * process.h
 *	  Commands that get their input on standard input.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_PROCESS_H
#define EB_PROCESS_H

typedef struct EbProcess EbProcess;

/* How a command ended. */
typedef enum EbProcessEnd
{
	EB_PROCESS_SUCCEEDED,		/* exit status 0 */
	EB_PROCESS_FAILED,			/* any other, or a signal */
	EB_PROCESS_MISSING,			/* 126, 127: the shell found no such command */
	EB_PROCESS_TIMED_OUT
} EbProcessEnd;

/*
 * Called once, from the loop, when the command has ended; the process is
 * freed afterwards.  The reason, for the log, says why it did not succeed.
 */
typedef void (*EbProcessDone) (void *arg, EbProcessEnd end, const char *reason);

extern void eb_process_init(void);
extern EbProcess *eb_process_start(const char *command, const char *input,
								   int timeout_ms, EbProcessDone done,
								   void *arg);
extern void eb_process_kill_all(int signo);

#endif							/* EB_PROCESS_H */
