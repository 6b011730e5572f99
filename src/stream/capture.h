/*-------------------------------------------------------------------------
 *
 * capture.h
 *	  Change capture: what a stream trigger knows about itself and its table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_CAPTURE_H
#define EB_CAPTURE_H

#include "commands/trigger.h"
#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/rel.h"

#include "pattern/pattern.h"
#include "stream/attribute_value.h"

/* A notification's payload must be shorter than this many bytes. */
#define EB_NOTIFY_LIMIT			Min(8000, BLCKSZ - NAMEDATALEN - 128)

/* Digits of a sequence number: a capture number, with zeros before it. */
#define EB_SEQUENCE_NUMBER_LEN	21

typedef enum EbEventName
{
	EB_EVENT_INSERT,
	EB_EVENT_MODIFY,
	EB_EVENT_REMOVE
} EbEventName;

#define EB_NEVENTS				3

/* The member that names the columns which an update changed; not AWS's. */
#define EB_CHANGED				"changed"

/* The member that removals of expired rows have. */
#define EB_USER_IDENTITY		"userIdentity"
#define EB_EXPIRY_TYPE			"Service"
#define EB_EXPIRY_PRINCIPAL		"dynamodb.amazonaws.com"

/* What a view type shows: bits, so that a column list can be asked about. */
typedef enum EbViewType
{
	EB_VIEW_KEYS_ONLY = 0,
	EB_VIEW_NEW_IMAGE = 1,
	EB_VIEW_OLD_IMAGE = 2,
	EB_VIEW_NEW_AND_OLD_IMAGES = 3
} EbViewType;

/* A record's fixed members, on the way to its text. */
typedef struct EbRecord
{
	EbEventName event;
	bool		tells_changed;	/* with the names of the changed columns */
	bool		expired;		/* with the userIdentity of such a removal */
	bool		fits;			/* with its images, as far as is known */
	bool		keys_fit;		/* if not that, with its keys */
	int64		time;			/* seconds since 1970 */
	int64		size;			/* SizeBytes */
} EbRecord;

/* The arguments of a stream trigger. */
typedef struct EbStreamArguments
{
	EbViewType	view_type;
	int			nfilters;		/* no filter: everything is wanted */
	EbPattern **filters;		/* any of them suffices */
	bool		log;			/* write records into the stream's log */
	char	   *channel;		/* else: send them there */
	bool		claim_check;	/* send claim checks only */
	bool		changed;		/* say which columns an update changed */
	char	   *input_path;		/* or NULL */
	char	   *input_paths_map;	/* or NULL */
	char	   *input_template; /* or NULL */
} EbStreamArguments;

/* What input_path or input_template makes of a record; see message.c. */
typedef struct EbTransform EbTransform;

/* The stream of a table, and who wants records of it; see log.c. */
typedef struct EbStreamWants
{
	int64		stream_id;		/* 0: the table has no stream */
	char	   *label;			/* the last part of its ARN */
	bool		everything;		/* not only what the filters want */
	int			nfilters;
	EbPattern **filters;
	int			nlanes;			/* whom to wake: see delivery.h */
	Oid		   *lanes;
} EbStreamWants;

/* A column of the table. */
typedef struct EbColumn
{
	AttrNumber	attnum;
	int16		attlen;
	bool		attbyval;
	bool		image_decides;	/* see eb_value_type_image_decides */
	bool		is_portable;	/* see eb_value_type_stored_as */
	char	   *name;
	int			name_len;
	int64		name_size;		/* its share of SizeBytes */
	char	   *json_name;		/* the name as JSON string, and a colon */
	int			json_name_len;
	EbValueType *type;
} EbColumn;

/* A column's attribute value in one row; good while row is the current one. */
typedef struct EbCell
{
	uint64		row;
	int64		size;
	JsonbPair	value;
	const char *json;			/* instead of value: its JSON text, or NULL */
	int			json_len;
} EbCell;

/* A version of the row: the tuple and what has been converted of it. */
typedef struct EbImage
{
	TupleTableSlot *slot;		/* NULL: all cells that are needed are there */
	EbCell	   *cells;			/* one for each column */
} EbImage;

/* What is known of a filter for one kind of event before a row is seen. */
typedef enum EbVerdict
{
	EB_VERDICT_LOOK,			/* depends on the row */
	EB_VERDICT_NEVER,
	EB_VERDICT_ALWAYS
} EbVerdict;

/*
 * The record as the filters see it: a tree with only those members that some
 * filter names.  Columns are cells of the images, so that the tree is built
 * once and a row only fills cells.
 */
typedef struct EbSkeleton
{
	JsonbValue	root;
	int			ncells;
	struct
	{
		bool		old_image;
		int			column;
	}		   *cells;			/* to be filled */
	bool		needs_event_id;
	bool		needs_sequence_number;
	JsonbValue *time;			/* to be filled, or NULL */
	JsonbValue *size;			/* to be filled, or NULL */
	JsonbValue *changed;		/* likewise */
	JsonbValue *identity;		/* empty if the row has not expired, or NULL */
} EbSkeleton;

/* What is known of one trigger on one table. */
typedef struct EbCapture
{
	MemoryContext context;		/* everything lives here */

	/* what else the contents depend on */
	Oid			root_relation;	/* the table that the stream is named after */
	uint64		settings_generation;

	EbStreamArguments *arguments;
	char	   *region;
	Oid			sequence;		/* source of capture numbers */
	EbTransform *transform;		/* of records into messages, or NULL */
	EbStreamWants *wants;		/* of a trigger with log=on, else NULL */

	int			ncolumns;
	EbColumn   *columns;
	int			nkeys;
	int		   *keys;			/* indexes of columns, in the key's order */
	bool		has_varlena;	/* some column's length varies */

	/* the same in jsonb's order, none twice; of who reads packs only */
	int		   *sorted_columns;
	int			nsorted_keys;
	int		   *sorted_keys;

	/* parts of the record's text that no row changes */
	char	   *head[EB_NEVENTS];	/* from behind eventID to the time */
	char	   *tail;			/* from StreamViewType on */
	char	   *arn;

	EbVerdict  *verdicts[EB_NEVENTS];	/* of each filter */
	EbVerdict	verdict[EB_NEVENTS];	/* of all filters together */
	EbSkeleton	skeletons[EB_NEVENTS];

	/* the row at hand */
	uint64		row;
	EbImage		new_image;
	EbImage		old_image;

	/* the record at hand */
	bool		has_event_id;
	bool		has_sequence_number;
	bool		expired;		/* the row is deleted because it has expired */
	bool		has_changed;
	int			nchanged;		/* columns that differ between the images */
	int		   *changed;		/* their indexes */
	uint64		event_bits[2];	/* the event id as a number */
	int64		number;			/* the sequence number as a number */
	char		event_id[33];
	char		sequence_number[EB_SEQUENCE_NUMBER_LEN + 1];
} EbCapture;

/* arguments.c */
extern EbStreamArguments *eb_stream_arguments_parse(int nargs, char **args);
extern const char *eb_view_type_name(EbViewType view_type);
extern void eb_stream_argument_context(void *arg);

/* message.c */
extern EbTransform *eb_transform_make(const EbStreamArguments *arguments,
									  Oid schema);
extern bool eb_transform_record(EbTransform *transform, StringInfo message);

/* capture.c */
extern void eb_column_init(EbColumn *column, const char *name, Oid typid);
extern void eb_write_constants(EbCapture *capture);
extern EbCapture *eb_capture_get(TriggerData *trigdata, Oid function);

/* log.c */
extern void eb_stream_log_init(void);
extern EbStreamWants *eb_stream_wants(Oid relid);
extern void eb_stream_log_append(const EbStreamWants *wants,
								 SubTransactionId subid,
								 TimestampTz captured_at, int64 first_number,
								 int64 last_number, StringInfo pack);

/* Called once per record that a pipe's role is to be woken for. */
typedef void (*EbStreamWake) (Oid lane);
extern PGDLLIMPORT EbStreamWake eb_stream_wake;

/* record.c */
extern const char *eb_event_name(EbEventName event);
extern bool eb_capture_key_changed(EbCapture *capture);
extern void eb_capture_change(EbCapture *capture, EbEventName event);
extern bool eb_shows_new_image(EbCapture *capture, EbEventName event);
extern bool eb_shows_old_image(EbCapture *capture, EbEventName event);
extern EbImage *eb_key_image(EbCapture *capture, EbEventName event);
extern EbCell *eb_get_cell(EbCapture *capture, EbImage *image, int column);
extern void eb_write_event_id(EbCapture *capture);
extern Size eb_value_length(EbCapture *capture, EbImage *image, int column);
extern int64 eb_record_size(EbCapture *capture, EbEventName event);
extern void eb_record_head(EbCapture *capture, const EbRecord *record,
						   StringInfo out);
extern void eb_record_tail(EbCapture *capture, const EbRecord *record,
						   StringInfo out);

/* record_tree.c */
extern void eb_record_tree(EbCapture *capture, const EbRecord *record,
						   const char *sequence_number, JsonbValue *root);

/* pack.c */
extern void eb_pack_init(void);
extern void eb_pack_change(EbCapture *capture, EbEventName event);

#endif							/* EB_CAPTURE_H */
