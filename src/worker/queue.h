/*-------------------------------------------------------------------------
 *
 * queue.h
 *	  A line of things: who comes first leaves first.
 *
 * What is to stand in a line has an EbQueueItem as its first field; it can
 * stand in one at a time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_QUEUE_H
#define EB_QUEUE_H

typedef struct EbQueueItem
{
	struct EbQueueItem *next;
} EbQueueItem;

/* Zero it before the first use. */
typedef struct EbQueue
{
	EbQueueItem *first;
	EbQueueItem *last;
	int			length;
} EbQueue;

/* Puts an item at the end. */
static inline void
eb_queue_push(EbQueue *queue, void *item)
{
	((EbQueueItem *) item)->next = NULL;
	if (queue->last)
		queue->last->next = item;
	else
		queue->first = item;
	queue->last = item;
	queue->length++;
}

/* Takes an item out, wherever it stands; it must be there. */
static inline void
eb_queue_remove(EbQueue *queue, void *item)
{
	EbQueueItem *before = NULL;

	for (EbQueueItem *other = queue->first; other != item; other = other->next)
		before = other;
	if (before)
		before->next = ((EbQueueItem *) item)->next;
	else
		queue->first = ((EbQueueItem *) item)->next;
	if (queue->last == item)
		queue->last = before;
	queue->length--;
}

/* Takes out the first one; NULL if there is none. */
static inline void *
eb_queue_pop(EbQueue *queue)
{
	EbQueueItem *item = queue->first;

	if (item)
		eb_queue_remove(queue, item);
	return item;
}

#endif							/* EB_QUEUE_H */
