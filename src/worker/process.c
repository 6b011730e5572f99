/*-------------------------------------------------------------------------
 *
 * process.c
 *	  Commands that get their input on standard input.
 *
 * A command is run by the shell, with the program's own standard output and
 * standard error.  It gets a process group of its own, so that Ctrl-C on the
 * terminal reaches the worker only, which can then let the command finish;
 * and so that all the command has started can be ended with it.
 *
 * The input is put into the pipe before the command is started, as far as the
 * pipe takes it (64 kB on Linux): what fits arrives whole even if this program
 * is killed.  The rest follows from the loop.
 *
 * A command that takes longer than its time-out gets SIGTERM, and SIGKILL
 * if it is still there five seconds later.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "loop.h"
#include "process.h"

#define KILL_DELAY_MS 5000

struct EbProcess
{
	pid_t		pid;
	int			status;			/* of waitpid(), once it has ended */
	int			input_fd;		/* -1: all written */
	char	   *input;
	size_t		input_len;
	size_t		input_written;
	EbTimer		timer;
	bool		timed_out;
	EbProcessDone done;
	void	   *arg;
	EbProcess  *next;
};

static EbProcess *processes = NULL;

/* What this program does about them is not for commands. */
static const int own_signals[] = {SIGTERM, SIGINT, SIGCHLD, SIGPIPE};

/* No more input for the command. */
static void
close_input(EbProcess *process)
{
	if (process->input_fd < 0)
		return;
	eb_loop_forget(process->input_fd);
	close(process->input_fd);
	process->input_fd = -1;
}

/*
 * Writes what the pipe takes, and closes it when that was all.  A command that
 * does not read its input is within its rights: whether it succeeded is said
 * by its exit status.
 */
static void
write_input(EbProcess *process)
{
	while (process->input_written < process->input_len)
	{
		ssize_t		n = write(process->input_fd,
							  process->input + process->input_written,
							  process->input_len - process->input_written);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n < 0)
			break;
		process->input_written += n;
	}
	close_input(process);
}

static void
input_ready(int fd, short revents, void *arg)
{
	write_input(arg);
}

static void
free_process(EbProcess *process)
{
	free(process->input);
	free(process);
}

static void
kill_hard(void *arg)
{
	EbProcess  *process = arg;

	kill(-process->pid, SIGKILL);
}

static void
time_out(void *arg)
{
	EbProcess  *process = arg;

	process->timed_out = true;
	kill(-process->pid, SIGTERM);
	eb_timer_set(&process->timer, KILL_DELAY_MS, kill_hard, process);
}

/* Says how a command has ended to whom it concerns. */
static void
tell_end(const EbProcess *process)
{
	int			code = WIFEXITED(process->status) ?
		WEXITSTATUS(process->status) : -1;
	EbProcessEnd end = EB_PROCESS_FAILED;
	char		reason[128] = "the command took too long";

	if (process->timed_out)
		end = EB_PROCESS_TIMED_OUT;
	else if (code < 0)
		snprintf(reason, sizeof(reason), "the command was ended by signal %d",
				 WTERMSIG(process->status));
	else
	{
		snprintf(reason, sizeof(reason), "the command's exit status was %d", code);
		if (code == 0)
			end = EB_PROCESS_SUCCEEDED;
		else if (code == 126 || code == 127)
			end = EB_PROCESS_MISSING;
	}
	process->done(process->arg, end, reason);
}

/* Collects the commands that have ended. */
static void
reap(int signo)
{
	EbProcess **link = &processes;
	EbProcess  *ended = NULL;

	while (*link)
	{
		EbProcess  *process = *link;
		int			status;

		if (waitpid(process->pid, &status, WNOHANG) != process->pid)
		{
			link = &process->next;
			continue;
		}
		*link = process->next;
		close_input(process);
		eb_timer_clear(&process->timer);
		process->status = status;
		process->next = ended;
		ended = process;
	}

	/* The handlers may start new ones: only now is the list at rest. */
	while (ended)
	{
		EbProcess  *process = ended;

		ended = process->next;
		tell_end(process);
		free_process(process);
	}
}

/* To be called once, before the first command is started. */
void
eb_process_init(void)
{
	eb_loop_signal(SIGCHLD, reap);
}

/*
 * What the child does between fork() and the command.  It comes with all
 * signals blocked: one that is for the command must not end in our handler.
 */
static void
run_command(const char *command, int input_fd)
{
	sigset_t	none;

	setpgid(0, 0);
	for (int i = 0; i < lengthof(own_signals); i++)
		signal(own_signals[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(input_fd, STDIN_FILENO) >= 0)
		execl("/bin/sh", "sh", "-c", command, (char *) NULL);
	_exit(127);
}

/* The process of a command, or -1 and a message. */
static pid_t
fork_command(const char *command, int input_fd)
{
	sigset_t	all;
	sigset_t	before;
	pid_t		pid;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		run_command(command, input_fd);
	if (pid < 0)
		eb_log_warning("could not start a process: %m");
	sigprocmask(SIG_SETMASK, &before, NULL);

	/* Done on both sides, whoever comes first. */
	if (pid > 0)
		setpgid(pid, pid);
	return pid;
}

/*
 * Starts a command, gives it the input, and calls done() when it has ended.
 * A time-out of 0 means none.  NULL, and a message, if it could not be
 * started; done() is not called then.
 */
EbProcess *
eb_process_start(const char *command, const char *input, int timeout_ms,
				 EbProcessDone done, void *arg)
{
	EbProcess  *process;
	int			fds[2];

	if (pipe(fds) != 0)
	{
		eb_log_warning("could not create a pipe: %m");
		return NULL;
	}
	for (int i = 0; i < 2; i++)
		fcntl(fds[i], F_SETFD, FD_CLOEXEC);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);

	process = pg_malloc0(sizeof(EbProcess));
	process->input_fd = fds[1];
	process->input = pg_strdup(input);
	process->input_len = strlen(input);
	process->done = done;
	process->arg = arg;
	write_input(process);

	process->pid = fork_command(command, fds[0]);
	close(fds[0]);
	if (process->pid < 0)
	{
		close_input(process);
		free_process(process);
		return NULL;
	}

	process->next = processes;
	processes = process;
	if (timeout_ms > 0)
		eb_timer_set(&process->timer, timeout_ms, time_out, process);
	if (process->input_fd >= 0)
		eb_loop_watch(process->input_fd, POLLOUT, input_ready, process);
	return process;
}

/* Sends a signal to all that runs. */
void
eb_process_kill_all(int signo)
{
	for (EbProcess *process = processes; process; process = process->next)
		kill(-process->pid, signo);
}
