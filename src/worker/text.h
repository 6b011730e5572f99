/*-------------------------------------------------------------------------
 *
 * text.h
 *	  Text that is fit to be handed on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_TEXT_H
#define EB_TEXT_H

struct cJSON;

extern char *eb_text_force_utf8(const char *text);
extern char *eb_text_first_line(const char *path);
extern char *eb_text_print_json(struct cJSON *object);

#endif							/* EB_TEXT_H */
