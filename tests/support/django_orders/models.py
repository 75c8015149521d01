from django.db import models


class Order(models.Model):
    ref = models.CharField(max_length=64, primary_key=True)
    status = models.CharField(max_length=16, default="new")

    class Meta:
        db_table = "orders"

    def __str__(self):
        return self.ref


class Line(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE)

    def __str__(self):
        return f"a line of {self.order_id}"
