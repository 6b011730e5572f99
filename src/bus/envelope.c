/*-------------------------------------------------------------------------
 *
 * envelope.c
 *	  The envelope of an event: id, time, text, and value for matching.
 *
 * An event exists in three forms.  For matching it is a value tree.  Functions
 * get it as jsonb, which is made of the same tree.  Everybody else gets compact
 * JSON text in AWS's order of keys, in which the detail keeps its own order of
 * keys and its own spelling of numbers and strings.  Neither of the last two is
 * made before somebody wants it: what they are made of takes half as much to
 * store.
 *
 * Ids are UUIDs of version 7 (RFC 9562): they begin with the time, so that
 * an index on them grows at its end.  The 12 bits after the version hold the
 * fraction of the millisecond, the rest is random.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "common/jsonapi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "bus/bus.h"
#include "compat.h"
#include "json/grammar.h"
#include "json/parse.h"
#include "settings.h"

/* Longer numbers, or larger exponents, do not surely fit type numeric. */
#define MAX_NUMBER_LEN		1000
#define MAX_EXPONENT		10000

/* Random bytes are got in such portions; asking costs more than they do. */
#define RANDOM_POOL_LEN		2048

/* Fills in random bytes that nobody has seen. */
static void
take_random(unsigned char *into, int len)
{
	static unsigned char pool[RANDOM_POOL_LEN];
	static int	left = 0;

	if (left < len)
	{
		left = 0;
		if (!pg_strong_random(pool, sizeof(pool)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		left = sizeof(pool);
	}
	left -= len;
	memcpy(into, pool + left, len);
}

/* A new id, unlike any other. */
void
eb_envelope_new_id(pg_uuid_t *id)
{
	struct timespec now;
	uint64		milliseconds;
	uint32		fraction;

	take_random(id->data + 8, UUID_LEN - 8);
	clock_gettime(CLOCK_REALTIME, &now);
	milliseconds = (uint64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
	fraction = (uint32) (((uint64) (now.tv_nsec % 1000000) << 12) / 1000000);

	for (int i = 0; i < 6; i++)
		id->data[i] = (unsigned char) (milliseconds >> (40 - 8 * i));
	id->data[6] = 0x70 | (unsigned char) (fraction >> 8);
	id->data[7] = (unsigned char) fraction;
	id->data[8] = (id->data[8] & 0x3f) | 0x80;
}

/* Writes EB_ID_LEN characters and a terminator. */
void
eb_envelope_format_id(const pg_uuid_t *id, char *buf)
{
	static const char hex[] = "0123456789abcdef";

	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*buf++ = '-';
		*buf++ = hex[id->data[i] >> 4];
		*buf++ = hex[id->data[i] & 0x0f];
	}
	*buf = '\0';
}

/* Writes a number in so many digits, and a character after it. */
static char *
write_digits(char *to, int number, int ndigits, char after)
{
	for (int i = ndigits - 1; i >= 0; i--)
	{
		to[i] = '0' + number % 10;
		number /= 10;
	}
	to[ndigits] = after;
	return to + ndigits + 1;
}

/*
 * Writes a time as AWS does, in whole seconds and UTC; EB_TIME_LEN bytes are
 * enough.  The caller has refused infinite times, and years before 0 and after
 * 9999.
 */
void
eb_envelope_format_time(TimestampTz time, char *buf)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	buf = write_digits(buf, tm.tm_year, 4, '-');
	buf = write_digits(buf, tm.tm_mon, 2, '-');
	buf = write_digits(buf, tm.tm_mday, 2, 'T');
	buf = write_digits(buf, tm.tm_hour, 2, ':');
	buf = write_digits(buf, tm.tm_min, 2, ':');
	buf = write_digits(buf, tm.tm_sec, 2, 'Z');
	*buf = '\0';
}

const char *
eb_envelope_account(const EbEnvelope *event)
{
	return event->account ? event->account : eb_guc_account_id;
}

const char *
eb_envelope_region(const EbEnvelope *event)
{
	return event->region ? event->region : eb_guc_region;
}

void
eb_envelope_write(StringInfo buf, const pg_uuid_t *id, const EbEnvelope *event)
{
	char		id_text[EB_ID_LEN + 1];
	char		time_text[EB_TIME_LEN];

	eb_envelope_format_id(id, id_text);
	eb_envelope_format_time(event->time, time_text);

	appendStringInfoString(buf, "{\"version\":\"0\",\"id\":\"");
	appendStringInfoString(buf, id_text);
	appendStringInfoString(buf, "\",\"detail-type\":");
	escape_json(buf, event->detail_type);
	appendStringInfoString(buf, ",\"source\":");
	escape_json(buf, event->source);
	appendStringInfoString(buf, ",\"account\":\"");
	appendStringInfoString(buf, eb_envelope_account(event));
	appendStringInfoString(buf, "\",\"time\":\"");
	appendStringInfoString(buf, time_text);
	appendStringInfoString(buf, "\",\"region\":\"");
	appendStringInfoString(buf, eb_envelope_region(event));
	appendStringInfoString(buf, "\",\"resources\":");
	appendStringInfoString(buf, event->resources ? event->resources : "[]");
	appendStringInfoString(buf, ",\"detail\":");
	appendBinaryStringInfo(buf, event->detail, event->detail_len);
	appendStringInfoChar(buf, '}');
}

static void
set_string(JsonbValue *value, const char *string)
{
	value->type = jbvString;
	value->val.string.val = unconstify(char *, string);
	value->val.string.len = strlen(string);
}

/*
 * The members of an envelope, in the order of jsonb, by length and then by bytes:
 * JsonbValueToJsonb() sorts nothing.
 */
enum
{
	MEMBER_ID,
	MEMBER_TIME,
	MEMBER_DETAIL,
	MEMBER_REGION,
	MEMBER_SOURCE,
	MEMBER_ACCOUNT,
	MEMBER_VERSION,
	MEMBER_RESOURCES,
	MEMBER_DETAIL_TYPE,
	NMEMBERS
};

static const char *const member_names[NMEMBERS] = {
	"id", "time", "detail", "region", "source", "account", "version",
	"resources", "detail-type"
};

/*
 * The tree of what is stored as text.  Rows of the log that were not written by
 * us may have anything there.
 */
static JsonbValue
tree_of(const char *text, int len)
{
	JsonbValue *tree = eb_jsonb_tree(text, len);

	if (tree == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("part of an event is malformed"),
				 errdetail("It must be a JSON object or array: %s",
						   pnstrdup(text, pg_mbcliplen(text, len, 100)))));
	return *tree;
}

static JsonbValue
resources_value(const EbEnvelope *event)
{
	JsonbValue	none = {.type = jbvArray};

	return event->resources == NULL ? none :
		tree_of(event->resources, strlen(event->resources));
}

/*
 * The event for the matcher, in the current memory context.  All that it is made
 * of is used where it is.
 */
JsonbValue *
eb_envelope_value(const pg_uuid_t *id, const EbEnvelope *event)
{
	JsonbValue *value = palloc(sizeof(JsonbValue));
	JsonbPair  *pairs = palloc(NMEMBERS * sizeof(JsonbPair));
	char	   *id_text = palloc(EB_ID_LEN + 1);
	char	   *time_text = palloc(EB_TIME_LEN);

	eb_envelope_format_id(id, id_text);
	eb_envelope_format_time(event->time, time_text);

	for (int i = 0; i < NMEMBERS; i++)
	{
		set_string(&pairs[i].key, member_names[i]);
		pairs[i].order = i;
	}
	set_string(&pairs[MEMBER_ID].value, id_text);
	set_string(&pairs[MEMBER_TIME].value, time_text);
	pairs[MEMBER_DETAIL].value = event->detail_value ? *event->detail_value :
		tree_of(event->detail, event->detail_len);
	set_string(&pairs[MEMBER_REGION].value, eb_envelope_region(event));
	set_string(&pairs[MEMBER_SOURCE].value, event->source);
	set_string(&pairs[MEMBER_ACCOUNT].value, eb_envelope_account(event));
	set_string(&pairs[MEMBER_VERSION].value, "0");
	pairs[MEMBER_RESOURCES].value = resources_value(event);
	set_string(&pairs[MEMBER_DETAIL_TYPE].value, event->detail_type);

	value->type = jbvObject;
	value->val.object.nPairs = NMEMBERS;
	value->val.object.pairs = pairs;
	return value;
}

Jsonb *
eb_envelope_to_jsonb(const pg_uuid_t *id, const EbEnvelope *event)
{
	Assert(event->detail_value == NULL);
	return JsonbValueToJsonb(eb_envelope_value(id, event));
}

/* Does type numeric take this number? Refuses some that it would take. */
static bool
number_fits(const char *number, int len)
{
	if (len > MAX_NUMBER_LEN)
		return false;
	for (int i = 0; i < len; i++)
		if (number[i] == 'e' || number[i] == 'E')
		{
			int			exponent = 0;

			for (i++; i < len; i++)
				if (number[i] >= '0' && number[i] <= '9' &&
					(exponent = exponent * 10 + (number[i] - '0')) > MAX_EXPONENT)
					return false;
		}
	return true;
}

/*
 * Appends a JSON object without the white space between its tokens.  If tree is
 * not NULL, *tree receives it for the matcher, in the current memory context;
 * its strings may stand in json.  Returns false, and leaves in out what it may,
 * for anything else than an object that type jsonb takes too: broken JSON, other
 * values, strings with a zero character or half a surrogate pair, numbers beyond
 * all measure, nesting beyond AWS's limit.
 */
bool
eb_envelope_compact(const char *json, int len, StringInfo out,
					JsonbValue **tree)
{
	/* Only escapes can be wrong in a string; to resolve them takes time. */
	JsonLexContext *lex =
		eb_make_json_lex_context_for(unconstify(char *, json), len,
									 memchr(json, '\\', len) != NULL);
	EbJsonGrammar grammar;
	JsonbParseState *state = NULL;

	enlargeStringInfo(out, len);
	eb_json_grammar_init(&grammar);
	for (bool first = true;; first = false)
	{
		JsonbIteratorToken place = eb_jsonb_place(&grammar);
		JsonTokenType token;

		CHECK_FOR_INTERRUPTS();
		if (json_lex(lex) != JSON_SUCCESS)
			return false;
		token = lex->token_type;
		if (token == JSON_TOKEN_END)
			return eb_json_grammar_is_complete(&grammar);
		if (first && token != JSON_TOKEN_OBJECT_START)
			return false;
		if (!eb_json_grammar_take(&grammar, token))
			return false;
		if (token == JSON_TOKEN_NUMBER &&
			!number_fits(lex->token_start,
						 lex->token_terminator - lex->token_start))
			return false;
		appendBinaryStringInfo(out, lex->token_start,
							   lex->token_terminator - lex->token_start);
		if (tree != NULL)
			*tree = eb_jsonb_push_token(&state, lex, place);
	}
}
