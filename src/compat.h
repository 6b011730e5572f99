/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  The only place that looks at PG_VERSION_NUM.
 *
 * Callers use the newest spelling; a shim gives it to older servers.  Each
 * shim says since which version the server has the thing itself.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_COMPAT_H
#define EB_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "eventbridge needs PostgreSQL 15 or later"
#endif

/* 16: varlena macros moved to a header of their own. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/*
 * 16: soft errors.  Before, every reported error is raised, and the context
 * node that callers hand down is always NULL.
 */
#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#else
#define errsave(context, ...) ereport(ERROR, __VA_ARGS__)
#define ereturn(context, dummy_value, ...) \
	do { \
		(void) (context); \
		ereport(ERROR, __VA_ARGS__); \
		return dummy_value; \
	} while (0)
#define SOFT_ERROR_OCCURRED(escontext) false
#endif

/*
 * 17: the lexer's context may be the caller's.  A context of its own, with
 * strings de-escaped into lex->strval.
 */
#include "common/jsonapi.h"
#include "mb/pg_wchar.h"

static inline JsonLexContext *
eb_make_json_lex_context_for(char *text, int len, bool need_escapes)
{
#if PG_VERSION_NUM >= 170000
	return makeJsonLexContextCstringLen(NULL, text, len,
										GetDatabaseEncoding(), need_escapes);
#else
	return makeJsonLexContextCstringLen(text, len,
										GetDatabaseEncoding(), need_escapes);
#endif
}

static inline JsonLexContext *
eb_make_json_lex_context(char *text, int len)
{
	return eb_make_json_lex_context_for(text, len, true);
}

/* 16: membership may come without the right to SET ROLE. */
#if PG_VERSION_NUM < 160000
#define member_can_set_role(member, role) is_member_of_role(member, role)
#endif

/* 16: one function for the owners of all kinds of objects. */
#if PG_VERSION_NUM < 160000
#define object_ownercheck(class_id, object_id, role) \
	((void) (class_id), pg_database_ownercheck(object_id, role))
#endif

/* 16: one function tells a role's rights on objects of all kinds. */
#if PG_VERSION_NUM >= 160000
#define eb_database_aclcheck(database, role, mode) \
	object_aclcheck(DatabaseRelationId, database, role, mode)
#else
#define eb_database_aclcheck(database, role, mode) \
	pg_database_aclcheck(database, role, mode)
#endif

/* 17: intervals may be infinite. */
#if PG_VERSION_NUM < 170000
#define INTERVAL_NOT_FINITE(i) ((void) (i), false)
#endif

/* 17: a virtual transaction names its process by another number. */
#if PG_VERSION_NUM >= 170000
#define EB_VXID_PROC(vxid) ((vxid).procNumber)
#else
#define EB_VXID_PROC(vxid) ((vxid).backendId)
#endif

/* 17: a role that may not log in can have a background worker. */
#if PG_VERSION_NUM >= 170000
#define EB_BGWORKER_ROLE_FLAGS BGWORKER_BYPASS_ROLELOGINCHECK
#define EB_BGWORKER_NEEDS_LOGIN false
#else
#define EB_BGWORKER_ROLE_FLAGS 0
#define EB_BGWORKER_NEEDS_LOGIN true
#endif

/* 18: generated columns may be virtual, and attributes have a compact form. */
#if PG_VERSION_NUM >= 180000
#define EB_ATTRIBUTE_GENERATED_VIRTUAL ATTRIBUTE_GENERATED_VIRTUAL
#else
#define EB_ATTRIBUTE_GENERATED_VIRTUAL 'v'
#define populate_compact_attribute(desc, attnum) ((void) 0)
#endif

/* 18: an index scan can count what it does, for EXPLAIN. */
#if PG_VERSION_NUM >= 180000
#define EB_INDEX_BEGINSCAN(rel, index, snapshot, nkeys) \
	index_beginscan(rel, index, snapshot, NULL, nkeys, 0)
#else
#define EB_INDEX_BEGINSCAN(rel, index, snapshot, nkeys) \
	index_beginscan(rel, index, snapshot, nkeys, 0)
#endif

#endif							/* EB_COMPAT_H */
