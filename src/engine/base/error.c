/*
 * error.c -- filling PlmError.  The contract is in plm_base.h.
 */
#include "plm_base.h"

#include <stdio.h>
#include <string.h>

PlmStatus
plm_fail(PlmError *err, PlmStatus code, int64_t position, const char *fmt,...)
{
	va_list		args;

	if (err == NULL)
		return code;
	err->code = code;
	err->position = position;
	err->hint[0] = '\0';
	err->over_arena = false;
	va_start(args, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, args);
	va_end(args);
	return code;
}

PlmStatus
plm_hint(PlmError *err, const char *fmt,...)
{
	va_list		args;

	if (err == NULL)
		return PLM_EINTERNAL;
	va_start(args, fmt);
	vsnprintf(err->hint, sizeof(err->hint), fmt, args);
	va_end(args);
	return err->code;
}

PlmStatus
plm_prefix(PlmError *err, const char *fmt,...)
{
	char		old[sizeof(err->message)];
	va_list		args;
	int			n;

	if (err == NULL)
		return PLM_EINTERNAL;
	memcpy(old, err->message, sizeof(old));
	va_start(args, fmt);
	n = vsnprintf(err->message, sizeof(err->message), fmt, args);
	va_end(args);
	if (n >= 0 && (size_t) n < sizeof(err->message))
		snprintf(err->message + n, sizeof(err->message) - (size_t) n, ": %s", old);
	return err->code;
}

PlmStatus
plm_cancelled(PlmError *err)
{
	return plm_fail(err, PLM_ECANCELLED, 0, "computation was cancelled");
}
