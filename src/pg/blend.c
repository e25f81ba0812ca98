/*
 * blend.c -- the fitted constants of recommendations: see blend.h.
 */
#include "blend.h"

#include "shop.h"

PlmpgBlend
plmpg_blend_default(void)
{
	return (PlmpgBlend) {.recency = 0.5, .damping = 0.3, .content = 0.4, .popular = 0.01};
}

PlmpgBlend
plmpg_blend(const Jsonb *settings)
{
	PlmpgBlend	blend = plmpg_blend_default();

	blend.recency = plmpg_shop_number(settings, "recency", blend.recency);
	blend.damping = plmpg_shop_number(settings, "damping", blend.damping);
	blend.content = plmpg_shop_number(settings, "content", blend.content);
	blend.popular = plmpg_shop_number(settings, "popular", blend.popular);
	return blend;
}
