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

/*
 * Called once, from the loop, when the command has ended; the process is
 * freed afterwards.  The status is that of waitpid().
 */
typedef void (*EbProcessDone) (void *arg, int status, bool timed_out);

extern void eb_process_init(void);
extern EbProcess *eb_process_start(const char *command, const char *input,
								   int timeout_ms, EbProcessDone done,
								   void *arg);
extern void eb_process_kill_all(int signo);

#endif							/* EB_PROCESS_H */
