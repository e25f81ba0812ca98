/*
 * chart.c -- the contract is in chart.h.  Colours that read on white and on black; no script, no font that must be there.
 */
#include "chart.h"

#include <stdio.h>

#define LEFT 170				/* of the bars */
#define LENGTH 420				/* of the longest */
#define STEP 22

static void
put_bars(FILE *f, const Bars *b, int *y)
{
	double		most = 0;

	for (int i = 0; i < b->n; i++)
		most = b->bar[i].value > most ? b->bar[i].value : most;
	*y += STEP + 8;
	fprintf(f, "<text x=\"10\" y=\"%d\" font-weight=\"bold\">%s</text>\n", *y - 6, b->title);
	for (int i = 0; i < b->n; i++)
	{
		double		length;

		if (b->bar[i].value <= 0)
			continue;
		length = LENGTH * b->bar[i].value / most;
		fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", LEFT - 8, *y + 14, b->bar[i].name);
		fprintf(f, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n", LEFT, *y + 2, length, STEP - 5,
				b->bar[i].ours ? "#2f7ed8" : "#9a9a9a");
		fprintf(f, "<text x=\"%.1f\" y=\"%d\">%.*f %s</text>\n", LEFT + length + 6, *y + 14, b->bar[i].value < 10 ? 2 : 0,
				b->bar[i].value, b->unit);
		*y += STEP;
	}
}

bool
chart_write(const char *path, const char *title, int groups, const Bars *bars)
{
	FILE	   *f = fopen(path, "w");
	int			height = 40;
	int			y = 24;
	bool		ok;

	if (f == NULL)
	{
		perror(path);
		return false;
	}
	for (int g = 0; g < groups; g++)
	{
		height += STEP + 8;
		for (int i = 0; i < bars[g].n; i++)
			height += bars[g].bar[i].value > 0 ? STEP : 0;
	}
	fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\" height=\"%d\" viewBox=\"0 0 720 %d\" "
			"font-family=\"sans-serif\" font-size=\"12\" fill=\"#555\">\n", height, height);
	fprintf(f, "<text x=\"10\" y=\"20\" font-size=\"14\" font-weight=\"bold\">%s</text>\n", title);
	for (int g = 0; g < groups; g++)
		put_bars(f, &bars[g], &y);
	fprintf(f, "</svg>\n");
	ok = !ferror(f);
	if (fclose(f) != 0 || !ok)
	{
		perror(path);
		return false;
	}
	return true;
}
