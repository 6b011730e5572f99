/*-------------------------------------------------------------------------
 *
 * delivery.h
 *	  What the files of this room share; log.c describes the whole.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_DELIVERY_H
#define EB_DELIVERY_H

#include "access/xact.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"
#include "utils/uuid.h"

#include "log/position.h"
#include "log/append.h"
#include "log/internal.h"

/*
 * Who delivers: any session; the client program; or, as the number of the
 * role, only sessions of that role.
 */
#define EB_LANE_ANY		((Oid) 0)
#define EB_LANE_CLIENT	((Oid) 1)

/* One row of the log, as far as it concerns one lane. */
typedef struct EbLogRow
{
	uint64		xid;
	int32		no;
	pg_uuid_t	event_id;
	int64		bus_id;
	TimestampTz ingestion_time;
	int			hops;
	int			ntargets;
	int64	   *target_ids;
	int64	   *all_target_ids; /* those of other lanes as well: rule by rule */
	char	   *group_key;		/* or NULL */
	int64		order_xid;		/* with a group: see order.c */
	const struct EbEnvelope *made_of;	/* or NULL: it has a text */
	char	   *text;			/* terminated; NULL: see eb_log_row_text() */
	int			size;			/* bytes, about, of the event */
} EbLogRow;

/* What lies between two positions for one lane. */
typedef struct EbBatch
{
	Oid			lane;
	int64		number;
	bool		again;			/* another worker died over it */
	EbLogPosition	from;
	EbLogPosition	to;
	int			ndeliveries;
	Size		nbytes;			/* of the rows' events */
	bool		is_full;		/* there may be more, not read yet */
	int64		nscanned;		/* rows looked at, of any lane */
	bool		closes;			/* without rows; the one before it had been cut */
	List	   *rows;			/* of EbLogRow */
} EbBatch;

/* How the invocation of a target ended. */
typedef enum EbResult
{
	EB_DELIVERED,
	EB_FAILED,					/* may go better another time */
	EB_REFUSED,					/* will not: no right, no such thing */
	EB_MOVED,					/* belongs to another lane by now */
	EB_GONE						/* the target has been removed */
} EbResult;

typedef enum EbTargetKind
{
	EB_TARGET_FUNCTION = 1,
	EB_TARGET_PROCEDURE,		/* may commit: see invoke.c */
	EB_TARGET_QUEUE,
	EB_TARGET_CHANNEL,
	EB_TARGET_BUS,
	EB_TARGET_LOG_GROUP,
	EB_TARGET_CLIENT			/* webhook or command: see client.c */
} EbTargetKind;

/* A target as it stands when it is invoked, and what this batch did to it. */
typedef struct EbTarget
{
	int64		target_id;		/* key */
	MemoryContext context;		/* lives as long as this */
	bool		exists;
	EbTargetKind kind;
	Oid			lane;
	char	   *name;			/* of the resource */
	int64		resource_id;	/* queue, log group or bus */
	char	   *message_group_id;	/* of messages to a queue, or NULL */
	int			delay;			/* of a queue's messages, in seconds */
	Oid			function;		/* of which functions and procedures only */
	FmgrInfo	flinfo;
	bool		claim_check;	/* notify with an id, not with the content */
	char	   *role;			/* that it runs as */
	char	   *obstacle_code;	/* AWS's code for what keeps it from us */
	char	   *obstacle;		/* or NULL */
	char	   *input;			/* at most one of these three */
	char	   *input_path;
	struct EbPath *path;		/* the same; NULL if it is not valid */
	struct EbTemplate *template;
	bool		bad_template;
	int64		rule_id;
	char	   *rule_name;
	char	   *rule_arn;
	char	   *target_arn;
	int			max_attempts;
	int			max_age;		/* seconds */
	bool		ordered;

	/* counters of this batch */
	int			matched;		/* events, as the first target of its rule */
	int			matched_first;	/* and as the first target of all */
	int			first_attempts;
	int			retries;
	int			successes;
	int			failed;			/* for good */
	int			to_dlq;
	int			not_to_dlq;
	int			looped;			/* not invoked, to end a loop */
	/* sums of µs since ingestion */
	int64		start_latency;	/* until the first attempt began */
	int64		attempt_latency;	/* until it ended */
	int64		latency;		/* until success */
} EbTarget;

typedef struct EbOutcome
{
	EbResult	result;
	const char *code;			/* AWS's ERROR_CODE */
	char	   *message;
} EbOutcome;

/* One delivery: a target and what it receives. */
typedef struct EbInvocation
{
	EbTarget   *target;
	EbLogRow   *row;
	char	   *input;			/* NULL: the whole event */
	Jsonb	   *input_jsonb;	/* instead of input; or NULL */
	bool		wants_result;	/* of a function that returns jsonb */
	Jsonb	   *result;			/* or NULL */
	EbOutcome	outcome;
} EbInvocation;

/* Retries that are claimed together. */
#define EB_RETRIES_AT_ONCE	10

/* A delivery that has a row of its own in delivery_retry. */
typedef struct EbRetry
{
	int64		retry_id;
	int64		target_id;
	int			attempts;		/* with the one to come */
	bool		ordered;		/* others may wait for it */
	EbLogRow	row;
} EbRetry;

/* settings, in init.c */
typedef enum EbBell
{
	EB_BELL_NOTIFY,
	EB_BELL_LATCH,
	EB_BELL_OFF
} EbBell;

extern int	eb_guc_bell;
extern int	eb_guc_poll_interval;
extern int	eb_guc_log_retention;
extern int	eb_guc_log_segment_size;
extern int	eb_guc_invocation_timeout;
extern int	eb_guc_retry_delay;
extern bool eb_guc_background_workers;
extern int	eb_guc_worker_idle_time;

extern void eb_delivery_init(void);

/* log.c */
extern EbAppendLog eb_delivery_log;
extern void eb_log_init(void);
extern void eb_log_fetch(EbBatch *batch, int max_deliveries);

/* ledger.c */
extern bool eb_ledger_claim(EbBatch *batch, Oid lane, int max_deliveries);
extern void eb_ledger_finish(const EbBatch *batch);
extern void eb_ledger_release(const EbBatch *batch);
extern void eb_ledger_settled(Oid lane, int64 *before_batch,
							  int64 *until_xid);

/* order.c */
extern bool eb_order_applies(const EbTarget *target, const EbLogRow *row);
extern void eb_order_insert(const EbBatch *batch, const EbTarget *target,
							EbLogRow *row);
extern void eb_order_forget(Oid lane);
extern void eb_order_lock(Oid lane);
extern int	eb_order_lock_due(Oid lane, int limit, Datum *ids);

/* lane.c */
extern Oid	eb_target_lane(int64 target_id);

/* target.c */
extern uint64 eb_target_changes;	/* of what targets are made of, seen so far */
extern void eb_target_init(void);
extern uint64 eb_target_watch(void);
extern HTAB *eb_targets_create(void);
extern EbTarget *eb_targets_get(HTAB *targets, int64 target_id);
extern EbTargetKind eb_target_kind(const char *kind);

/* log_row.c */
extern char *eb_log_row_text(EbLogRow *row);
extern Jsonb *eb_log_row_jsonb(const EbLogRow *row);

/* deliver.c */
extern char *eb_invocation_input(const EbInvocation *invocation);
extern bool eb_target_prepare(EbInvocation *invocation, Oid lane);
extern void eb_target_deliver(EbInvocation *invocation);

/* invoke.c */
extern bool eb_invoke(EbInvocation *invocations, int ninvocations);
extern void eb_invoke_procedure(EbInvocation *invocation,
								const EbRetry *claimed, int nclaimed);

/* retry.c */
extern int64 eb_retry_insert(int64 target_id, Oid lane, EbLogRow *row,
							 int attempts, int64 delay, const char *code,
							 const char *message);
extern int	eb_retry_claim(Oid lane, int limit, EbRetry *retries);
extern bool eb_retry_lock(int64 retry_id);
extern void eb_retry_unlock(int64 retry_id);
extern void eb_retry_lock_beyond_abort(int64 retry_id);
extern void eb_retry_lock_until_abort(int64 retry_id);
extern bool eb_retry_read(Oid lane, int64 retry_id, EbRetry *retry);
extern void eb_retry_delete(const EbRetry *retry);
extern void eb_retry_update(const EbRetry *retry, Oid lane, int attempts,
							int64 delay, const EbOutcome *outcome);
extern void eb_retry_note_success(const EbRetry *retry);

/* settle.c */
extern int64 eb_backoff(int attempts);
extern void eb_settle_first(const EbBatch *batch,
							const EbInvocation *invocation,
							TimestampTz started);
extern int64 eb_settle_retry(Oid lane, const EbRetry *retry,
							 const EbInvocation *invocation,
							 TimestampTz started, int64 not_before);
extern void eb_count_matches(HTAB *targets, const EbLogRow *row);
extern void eb_metrics_write(HTAB *targets);

/* orphans.c */
extern int64 eb_orphans_pass_on(void);

/* client.c */
extern void eb_client_end(XactEvent event);

/* run.c */
extern int64 eb_run_turn(int64 max_deliveries, bool procedures_may_commit);
extern int	eb_run_batch(Oid lane, int max_deliveries,
						 void (*serve) (const EbBatch *), bool *is_full, bool *closes);
extern TimestampTz eb_next_attempt(Oid lane);
extern void eb_commit_lazily(void);
extern bool eb_session_is_its_own(void);

/* pace.c */
extern int	eb_pause(TimestampTz since, TimestampTz began, int64 ndeliveries);

/*
 * How long a session serves deliveries, or a pipe, before it looks after the
 * others; microseconds.
 */
#define EB_TURN_INTERVAL	(200 * INT64CONST(1000))

/* Serves a role's pipes, up to about so many records; set by their room. */
extern int64 (*eb_run_pipes) (Oid role, int64 max_records);

/* bell.c */
extern void eb_bell_note_lane(Oid lane);
extern void eb_bell_pre_commit(bool prepare);
extern void eb_bell_end(XactEvent event);
extern bool eb_bell_has_sleeper(Oid lane);
extern void eb_bell_channel(Oid lane, char *channel);

/* launcher.c */
extern void eb_launcher_init(void);

/* slots.c */
extern bool eb_launcher_is_on(void);
extern void eb_launcher_wake(const Oid *lanes, int nlanes);
extern void eb_launcher_withdraw(Oid database);

/* background.c */
extern bool eb_worker_lane(Oid *lane);

/* withdraw.c */
extern void eb_withdraw_init(void);

#endif							/* EB_DELIVERY_H */
