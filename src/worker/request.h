/*-------------------------------------------------------------------------
 *
 * request.h
 *	  The HTTP request that an API destination is to get.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_REQUEST_H
#define EB_REQUEST_H

#include "http.h"
#include "work.h"

extern EbHttpRequest *eb_request_create(const EbWork *work, int timeout_ms,
										const char **problem);
extern void eb_request_free(EbHttpRequest *request);

#endif							/* EB_REQUEST_H */
