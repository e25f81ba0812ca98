/*
 * blend.c -- the fitted constants of recommendations: see blend.h.
 */
#include "blend.h"

#include "shop.h"

PlmpgBlend
plmpg_blend(const Jsonb *settings)
{
	return (PlmpgBlend)
	{
		.recency = plmpg_shop_number(settings, "recency", 0.5),
			.damping = plmpg_shop_number(settings, "damping", 0.3),
			.content = plmpg_shop_number(settings, "content", 0.4),
			.popular = plmpg_shop_number(settings, "popular", 0.01)
	};
}
